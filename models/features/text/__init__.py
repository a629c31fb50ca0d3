"""Text: a column of sentences or documents, read as sequences of token ids."""

from models.features.text.config import TextInput, TextState
from models.features.text.featurize import build_spec, fit, transform

__all__ = ["TextInput", "TextState", "build_spec", "fit", "list_packages", "transform"]


def list_packages(config: TextInput) -> tuple[str, ...]:
    """Return the packages that prediction needs in addition to the core."""
    if config.tokenizer == "bpe":
        return ("tokenizers",)
    if config.tokenizer == "word":
        return ("spacy", "jieba") if config.language == "zh" else ("spacy",)
    return ()
