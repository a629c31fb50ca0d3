"""Heads: from what the network has read to answers, each with its own loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

Decoder = Literal["auto", "direct", "patches", "recursive", "attention", "ctc"]

Error = Literal["mse", "mae", "huber", "gaussian_nll", "quantile", "student_t", "negative_binomial"]

SPREADING = ("gaussian_nll", "quantile", "student_t", "negative_binomial")
"""Errors whose answers come with their uncertainty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """How answers are made and how a wrong one is counted."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: every class counts alike, however rare it is in training; of a tag, its presence
    as much as its absence."""
    focal_gamma: float = 0.0
    """Above 0, rows that are answered well already count less (the focal loss's exponent; 2 is
    usual)."""
    label_smoothing: float = 0.0
    """Share of certainty that training hands to the other classes, tags or symbols."""
    loss: Error = "mse"
    """How a number's error counts. `gaussian`, `student` and `negative_binomial` (for counts) learn
    a distribution of each answer, `quantile` its quantiles."""
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    """What is told of an answer that comes with its uncertainty."""
    decoder: Decoder = "auto"
    """Of a forecast: `direct` (auto) makes all steps at once, `segments` several at a time from
    where they lie, `recursive` each from the one before. Of a text: `attention` (auto) looks at
    any part of the input for each symbol, `ctc` writes while it reads, for sound and lines of
    writing."""
    patch_length: int = 1
    """Steps that `segments` makes together; a divisor of `window.horizon`."""
    normalization: Literal["none", "nlinear", "revin"] = "none"
    """What a forecast and its inputs are measured from: `last`: the window's last values;
    `window`: their mean and spread in the window. For series that wander, or differ in level."""
    beam_size: int = 4
    """Texts that `attention` weighs against each other while it writes; 1 is the quickest."""
    interval_coverage: float = 0.9
    """Share of rows that `prediction_set`, or the interval from `interval_low` to `interval_high`,
    is to hold the truth of; measured on validation rows."""

    def __post_init__(self) -> None:
        """Refuse losses and decoders that cannot be."""
        if self.focal_gamma < 0:
            raise ValueError(f"focal: {self.focal_gamma} is below 0")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: {self.label_smoothing} is not between 0 and 1")
        if self.focal_gamma and self.label_smoothing:
            raise ValueError("focal: it does not go with label_smoothing; choose one of them")
        rising = all(low < high for low, high in zip(self.quantiles, self.quantiles[1:]))  # noqa: B905 - one shorter
        inside = all(0 < level < 1 for level in self.quantiles)
        if not (rising and inside and 0.5 in self.quantiles):
            raise ValueError(
                f"quantiles: {list(self.quantiles)} do not rise between 0 and 1 through 0.5, "
                "which is the answer itself"
            )
        if self.patch_length < 1 or (self.patch_length > 1 and self.decoder != "patches"):
            raise ValueError("segment: give at least 1, and more only with decoder: segments")
        if self.beam_size < 1:
            raise ValueError(f"beam: {self.beam_size} is too small; give at least 1")
        if not 0.5 <= self.interval_coverage < 1:
            raise ValueError(
                f"confidence: {self.interval_coverage} is not between 0.5 and 1; give 0.9"
            )
        if self.normalization != "none" and self.loss == "negative_binomial":
            raise ValueError("anchor: counts are measured from zero; remove it")
