"""Text: a column of sentences or documents, read as sequences of token ids."""

from pathlib import Path

from models.features.embeddings.sources import find_source
from models.features.text.config import TextInput, TextState, resolve_tokenizer
from models.features.text.featurize import build_spec, fit, transform

__all__ = [
    "TextInput",
    "TextState",
    "build_spec",
    "fit",
    "list_files",
    "list_packages",
    "transform",
]


def list_files(config: TextInput) -> tuple[Path, ...]:
    """Return the files that fitting reads: those of the pretrained vectors.

    Raises:
        UnlearnableError: there are none.
    """
    if config.pretrained_embeddings is None:
        return ()
    return find_source(config.pretrained_embeddings).files


def list_packages(config: TextInput, state: TextState) -> tuple[str, ...]:
    """Return the packages that prediction needs in addition to the core."""
    tokenizer = resolve_tokenizer(config, state)
    if tokenizer in {"bpe", "pretrained"}:
        return ("tokenizers",)
    if tokenizer == "word":
        return ("spacy", "jieba") if config.language == "zh" else ("spacy",)
    return ()
