"""Text: a column of sentences or documents, read as sequences of ids."""

from models.features.text.config import TextInput, TextState
from models.features.text.reading import fit, signal, transform

__all__ = ["TextInput", "TextState", "fit", "signal", "transform"]
