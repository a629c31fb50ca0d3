"""Targets with their predictions, as arrays that can be resampled row by row.

Classes are codes (-1 for a class that is not in the training rows), numbers are in the target's
unit. Shapes: R rows, K classes or labels, T steps of a forecast, Q quantiles, G n-gram lengths.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.features.config import TargetKind

MAX_PROBABILITIES = 20_000_000
"""Largest number of probabilities (rows times classes) that is stored."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Predictions:
    """Targets and predictions of some rows."""

    __slots__ = ()

    @property
    def kind(self) -> TargetKind:
        """Kind of the target."""
        raise NotImplementedError

    def select(self, rows: NDArray[Any]) -> Self:
        """Select rows by index, with repetition where an index repeats."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(
            **{
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in values.items()
            }
        )

    def __len__(self) -> int:
        """Count the rows."""
        first = fields(self)[0].name  # type: ignore[arg-type]
        return len(getattr(self, first))


@dataclass(frozen=True, slots=True)
class SinglePredictions(Predictions):
    """One class or one number a row."""

    target_R: Floats
    prediction_R: Floats
    """NaN where there is no prediction."""
    probability_R: Floats
    """Predicted probability of the target class; all NaN for numbers."""
    num_classes: int
    """Number of classes in the training rows; 0 for a number."""
    probabilities_RK: Floats | None = None
    """Probabilities of all classes; None where they are unknown or too many."""

    @property
    def kind(self) -> TargetKind:
        """A category or a number."""
        return "category" if self.num_classes else "number"


@dataclass(frozen=True, slots=True)
class TagPredictions(Predictions):
    """Any number of labels a row; the last column is for labels unknown from the training rows."""

    target_RK: Flags
    prediction_RK: Flags

    @property
    def kind(self) -> TargetKind:
        """Tags."""
        return "tags"


class ColumnScales(NamedTuple):
    """Scales of several columns that are forecast together, so that their errors can be averaged.

    K columns.
    """

    names: tuple[str, ...]
    std_RK: Floats
    """Standard deviation of each column in training; of the row's entity, where scaled by it."""
    naive_error_RK: Floats
    """Mean error of the seasonal naive forecast on each row's past; NaN where unknown."""


ForecastScale = Floats | ColumnScales
"""Mean error of the seasonal naive forecast on each row's past, [R], or the scales of columns."""


class ForecastSteps(NamedTuple):
    """The steps of forecasts, for the report; they are not resampled.

    Of several columns the numbers of a step stand side by side, by column.
    """

    target_RT: Floats
    """NaN where the target is unknown."""
    prediction_RT: Floats
    """NaN where there is no prediction."""
    quantiles_QRT: tuple[Floats, ...]
    """Empty for a point forecast."""
    levels: tuple[float, ...]
    columns: ColumnScales | None = None
    """Of several columns."""

    def select_numbers(self, numbers: slice) -> "ForecastSteps":
        """Return some of the T numbers of each forecast, without the columns."""
        return ForecastSteps(
            self.target_RT[:, numbers],
            self.prediction_RT[:, numbers],
            tuple(quantile_RT[:, numbers] for quantile_RT in self.quantiles_QRT),
            self.levels,
        )

    def divide_by(self, unit_R: Floats) -> "ForecastSteps":
        """Return the forecasts in another unit."""
        unit_R1 = unit_R[:, None]
        return ForecastSteps(
            self.target_RT / unit_R1,
            self.prediction_RT / unit_R1,
            tuple(quantile_RT / unit_R1 for quantile_RT in self.quantiles_QRT),
            self.levels,
        )


@dataclass(frozen=True, slots=True)
class ForecastPredictions(Predictions):
    """Forecasts of several steps, as sums over each row's steps with a known target.

    Of several columns the sums are of errors in standard deviations of each column.
    """

    count_R: Floats
    """Steps with a known target."""
    absolute_error_R: Floats
    squared_error_R: Floats
    symmetric_error_R: Floats
    """Symmetric percentage errors, 0 to 2 a step."""
    scaled_error_R: Floats
    """Absolute errors divided by the mean error of the seasonal naive forecast on the row's own
    past; NaN where that is unknown."""
    pinball_R: Floats
    covered_R: Floats
    """Steps with the target between the lowest and the highest quantile; NaN for a point
    forecast."""
    width_R: Floats
    """Distances from the lowest to the highest quantile; NaN for a point forecast."""
    steps: ForecastSteps

    @property
    def kind(self) -> TargetKind:
        """A forecast."""
        return "forecast"


@dataclass(frozen=True, slots=True)
class TextPredictions(Predictions):
    """One text a row, as counts that add up over rows."""

    exact_match_R: Flags
    character_edits_R: Floats
    """Characters to replace, insert or delete."""
    target_characters_R: Floats
    """Characters of the target."""
    word_edits_R: Floats
    target_words_R: Floats
    matched_ngrams_RG: Floats
    """N-grams of one to four words that prediction and target share, for BLEU."""
    predicted_ngrams_RG: Floats
    """N-grams of the prediction."""
    predicted_length_R: Floats
    """Words of the prediction, in BLEU's tokenization."""
    target_length_R: Floats
    """Words of the target, in BLEU's tokenization."""

    @property
    def kind(self) -> TargetKind:
        """A text."""
        return "text"


@dataclass(frozen=True, slots=True)
class SelfSupervisedErrors(Predictions):
    """Self-supervised error of each row, and the error of always predicting the mean."""

    error_R: Floats
    """NaN where the row cannot be read."""
    baseline_R: Floats

    @property
    def kind(self) -> TargetKind:
        """`next_step`, which is measured as a reconstruction is."""
        return "next_step"
