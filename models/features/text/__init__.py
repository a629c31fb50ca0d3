"""Text: a column of sentences or documents, read as sequences of ids."""

from models.features.text.config import TextInput, TextState
from models.features.text.reading import fit, signal, transform

__all__ = ["TextInput", "TextState", "fit", "packages", "signal", "transform"]


def packages(config: TextInput) -> tuple[str, ...]:
    """Name what a served model needs beside the core."""
    if config.tokenizer == "bpe":
        return ("tokenizers",)
    if config.tokenizer == "word":
        return ("spacy", "jieba") if config.language == "zh" else ("spacy",)
    return ()
