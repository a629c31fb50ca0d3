"""Metrics that are functions of sums over rows, so that resamples cost one matrix product.

A resample is given as the number of times that it contains each row. With counts [B, R] and terms
[R, F], the sums of all resamples are counts @ terms, [B, F].
Shapes: R rows, F terms, B resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_MAX_DRAWN_ROWS = 100_000_000
"""Largest number of rows that is drawn for one interval (rows times resamples)."""

_MIN_SAMPLES = 1_000
"""Resamples that are drawn even of very many rows."""

Floats = NDArray[np.float64]

Terms = Callable[[Any], Any]
"""From predictions to an array [R, F], or a sparse matrix of that shape."""

Total = Callable[[Floats], Floats]
"""From sums [B, F] to scores [B]; NaN where a score is undefined."""


class Metric(Protocol):
    """A score of predictions, of all rows or of many resamples at once."""

    def __call__(self, predictions: Any, /) -> float:  # noqa: ANN401 - of the metric's kind
        """Score all rows."""

    def compute_resampled(self, predictions: Any, counts_BR: Floats) -> Floats:  # noqa: ANN401 - as above
        """Score resamples of the rows, [B].

        Args:
            predictions: of R rows.
            counts_BR: how often each resample contains each row.
        """

    def limit_samples(self, predictions: Any, count: int) -> int:  # noqa: ANN401 - as above
        """Return how many resamples can be scored in seconds, at most `count`."""


@dataclass(frozen=True, slots=True)
class AdditiveMetric:
    """A metric that is computed from sums over rows."""

    terms: Terms
    total: Total

    def __call__(self, predictions: Any, /) -> float:  # noqa: ANN401 - of the metric's kind
        """Score all rows."""
        sums_F = np.asarray(self.terms(predictions).sum(axis=0), np.float64).reshape(1, -1)
        return float(self.total(sums_F)[0])

    def compute_resampled(self, predictions: Any, counts_BR: Floats) -> Floats:  # noqa: ANN401 - as above
        """Score resamples of the rows, [B]."""
        return self.total(np.asarray(counts_BR @ self.terms(predictions)))

    def limit_samples(self, predictions: Any, count: int) -> int:  # noqa: ANN401 - as above
        """Return `count`, or fewer where there are very many rows."""
        return min(count, max(_MIN_SAMPLES, _MAX_DRAWN_ROWS // max(len(predictions), 1)))


def stack_columns(*values: Any) -> Floats:  # noqa: ANN401 - numbers or flags, [R]
    """Stack arrays [R] as the columns of one array [R, F]."""
    return np.stack([np.asarray(each, np.float64) for each in values], axis=1)


def compute_ratio(sums_BF: Floats) -> Floats:
    """Divide the first sum by the second; NaN where that is zero."""
    numerator_B, denominator_B = sums_BF[:, 0], sums_BF[:, 1]
    return divide_with_default(numerator_B, denominator_B, default=np.nan)


def divide_with_default(numerator: Floats, denominator: Floats, *, default: float) -> Floats:
    """Divide element by element; `default` where the denominator is not above zero."""
    filled = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), default)
    return np.asarray(np.divide(numerator, denominator, out=filled, where=denominator > 0))
