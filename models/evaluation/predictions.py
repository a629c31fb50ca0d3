"""Truth and answers side by side, as arrays that can be resampled row by row.

Classes are held as codes (-1 for one that training never showed), numbers in the target's unit.
Shapes: R rows, K classes or labels, T steps of a forecast, Q quantiles.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.features.config import TargetKind

MAX_PROBABILITIES = 20_000_000
"""Probabilities of all rows and classes up to which they are kept."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Predictions:
    """What was answered to rows, and what would have been right."""

    __slots__ = ()

    @property
    def kind(self) -> TargetKind:
        """What kind of answer it is."""
        raise NotImplementedError

    def select(self, rows: NDArray[Any]) -> Self:
        """Take these rows, with repetition where an index repeats."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(
            **{
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in held.items()
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
    """NaN where no answer was given."""
    probability_R: Floats
    """Probability that was given to the true class; all NaN for numbers."""
    classes: int
    """Classes that training showed; 0 for a number."""
    probabilities_RK: Floats | None = None
    """Probabilities of all classes, where they are known and not too many."""

    @property
    def kind(self) -> TargetKind:
        """A category or a number."""
        return "category" if self.classes else "number"


@dataclass(frozen=True, slots=True)
class TagPredictions(Predictions):
    """Any number of labels a row; the last column is for those that training never showed."""

    target_RK: Flags
    prediction_RK: Flags

    @property
    def kind(self) -> TargetKind:
        """Tags."""
        return "tags"


class ForecastSteps(NamedTuple):
    """A forecast's steps one by one, for the report; they are not resampled."""

    target_RT: Floats
    """NaN where nothing is known."""
    prediction_RT: Floats
    """NaN where no answer was given."""
    quantiles_QRT: tuple[Floats, ...]
    """None where the answer is a point."""
    levels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ForecastPredictions(Predictions):
    """Several steps ahead a row, as sums over those that are known."""

    count_R: Floats
    """Steps that are known."""
    absolute_R: Floats
    squared_R: Floats
    share_R: Floats
    """Of the symmetric percentage errors, 0 to 2 a step."""
    scaled_R: Floats
    """Of the errors as a part of what the seasonal naive forecast errs by in the row's own past;
    NaN where nothing is."""
    pinball_R: Floats
    inside_R: Floats
    """Steps between the lowest and the highest quantile; NaN for a point."""
    width_R: Floats
    """Of the way from the lowest to the highest quantile; NaN for a point."""
    steps: ForecastSteps

    @property
    def kind(self) -> TargetKind:
        """A forecast."""
        return "forecast"


@dataclass(frozen=True, slots=True)
class TextPredictions(Predictions):
    """A text a row, as counts that add up over rows."""

    same_R: Flags
    edits_R: Floats
    """Characters that have to be changed, added or taken away."""
    characters_R: Floats
    """Of the right text."""
    word_edits_R: Floats
    words_R: Floats
    matches_RG: Floats
    """Runs of one to four words that are right, for BLEU."""
    runs_RG: Floats
    """Such runs in the answer."""
    predicted_length_R: Floats
    """Words, as BLEU cuts them, in the answer."""
    target_length_R: Floats
    """And in the right text."""

    @property
    def kind(self) -> TargetKind:
        """A text."""
        return "text"


@dataclass(frozen=True, slots=True)
class SelfSupervisedErrors(Predictions):
    """What each row could not be told by, beside what always saying the usual would cost."""

    error_R: Floats
    """NaN where the row could not be read."""
    baseline_R: Floats

    @property
    def kind(self) -> TargetKind:
        """Next steps and reconstructions are measured alike."""
        return "next_step"
