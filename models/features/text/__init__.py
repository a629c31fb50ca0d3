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


def list_packages(config: TextInput, state: TextState | None) -> tuple[str, ...]:
    """Return the packages that prediction needs in addition to the core.

    Without a state, all that fitting may need: only the vectors tell by what texts are split.
    """
    if state is None and config.tokenizer == "auto" and config.pretrained_embeddings:
        return ("tokenizers", *_list_word_packages(config.language))
    tokenizer = resolve_tokenizer(config, state or TextState())
    if tokenizer in {"bpe", "pretrained"}:
        return ("tokenizers",)
    if tokenizer == "word":
        return _list_word_packages(config.language)
    return ()


def _list_word_packages(language: str) -> tuple[str, ...]:
    """Return the packages that split texts of a language into words."""
    return ("spacy", "jieba") if language == "zh" else ("spacy",)
