"""Heads: from what the network has read to answers, each with its own loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """How answers are made and how a wrong one is counted."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: every class counts alike, however rare it is in training."""
    focal: float = 0.0
    """Above 0, rows that are answered well already count less (the focal loss's exponent; 2 is
    usual)."""
    label_smoothing: float = 0.0
    """Share of certainty that training hands to the other classes."""
    error: Literal["squared", "absolute", "huber", "gaussian"] = "squared"
    """How a number's error counts. `gaussian` learns the spread of each answer beside it."""

    def __post_init__(self) -> None:
        """Refuse losses that cannot be."""
        if self.focal < 0:
            raise ValueError(f"focal: {self.focal} is below 0")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: {self.label_smoothing} is not between 0 and 1")
        if self.focal and self.label_smoothing:
            raise ValueError("focal: it does not go with label_smoothing; choose one of them")
