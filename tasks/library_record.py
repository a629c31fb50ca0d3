"""What an ensemble was selected from, in the facts of the model."""

from dataclasses import dataclass
from typing import ClassVar

from models.networks.config import ModelConfig

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryPart:
    """A network or branch that an ensemble was selected from."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    """Its number and cell, such as `2_lstm`, or the kind of the branch."""
    model: ModelConfig | None = None
    """The settings of a network; None for a branch."""
    loss: float | None = None
    """Of its predictions for rows that it has not learned from."""
    weight: float = 0.0
    """In the predictions of the model; what has none is not part of it."""
    seconds: float | None = None
    """Duration of the training of a network, with all its folds."""
    reason: str = ""
    """Why it could not be trained; empty where it was."""
