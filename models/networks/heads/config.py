"""Settings of the head: loss, decoder, and what a prediction comes with."""

from dataclasses import dataclass
from typing import ClassVar, Literal

DecoderName = Literal["auto", "direct", "patches", "recursive", "attention", "ctc"]

LossName = Literal[
    "mse", "mae", "huber", "gaussian_nll", "quantile", "student_t", "negative_binomial"
]

DISTRIBUTION_LOSSES = ("gaussian_nll", "quantile", "student_t", "negative_binomial")
"""Losses whose predictions come with their uncertainty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """How predictions are made, and by which loss they are trained."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    class_weights: Literal["none", "balanced"] = "none"
    """Weights in the loss. `balanced`: inversely proportional to the frequency of a class in the
    training rows; for tags, to that of each tag's presence and absence."""
    focal_gamma: float = 0.0
    """Exponent of the focal loss: above 0, rows that are already predicted well count less; 2 is
    common."""
    label_smoothing: float = 0.0
    """Probability that is spread over the other classes, tags or tokens in training."""
    loss: LossName = "mse"
    """Loss of a number. `gaussian_nll`, `student_t` and `negative_binomial` (for counts) learn the
    distribution of each prediction, `quantile` its quantiles."""
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    """Quantiles that are predicted, where the loss learns a distribution or quantiles."""
    decoder: DecoderName = "auto"
    """Of a forecast: `direct` (auto) predicts all steps at once, `patches` several at a time by
    their position, `recursive` each step from the previous one. Of a text: `attention` (auto)
    attends to the whole input for each token; `ctc` (connectionist temporal classification) is for
    speech and for images of text lines, and their default."""
    patch_length: int = 1
    """Steps that `patches` predicts at a time; a divisor of `window.horizon`."""
    normalization: Literal["none", "nlinear", "revin"] = "none"
    """Normalisation of each window of a forecast, undone in its predictions. `nlinear`: minus the
    last value. `revin`: by mean and standard deviation. For series whose level changes."""
    beam_size: int = 4
    """Candidate texts that `attention` keeps in its beam search; 1 is the fastest."""
    interval_coverage: float = 0.9
    """Probability with which `prediction_set`, or the interval from `interval_low` to
    `interval_high`, contains the target; calibrated on the validation rows."""

    def __post_init__(self) -> None:
        """Check ranges and combinations."""
        if self.focal_gamma < 0:
            raise ValueError(f"focal_gamma: {self.focal_gamma} is below 0")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: {self.label_smoothing} is not between 0 and 1")
        if self.focal_gamma and self.label_smoothing:
            raise ValueError("focal_gamma: it does not go with label_smoothing; choose one of them")
        rising = all(low < high for low, high in zip(self.quantiles, self.quantiles[1:]))  # noqa: B905 - one shorter
        inside = all(0 < level < 1 for level in self.quantiles)
        if not (rising and inside and 0.5 in self.quantiles):
            raise ValueError(
                f"quantiles: {list(self.quantiles)} do not rise between 0 and 1 through 0.5, "
                "which is the prediction itself"
            )
        if self.patch_length < 1 or (self.patch_length > 1 and self.decoder != "patches"):
            raise ValueError("patch_length: give at least 1, and more only with decoder: patches")
        if self.beam_size < 1:
            raise ValueError(f"beam_size: {self.beam_size} is too small; give at least 1")
        if not 0.5 <= self.interval_coverage < 1:
            raise ValueError(
                f"interval_coverage: {self.interval_coverage} is not between 0.5 and 1; give 0.9"
            )
        if self.normalization != "none" and self.loss == "negative_binomial":
            raise ValueError(
                "normalization: counts are measured from zero; set normalization: none"
            )
