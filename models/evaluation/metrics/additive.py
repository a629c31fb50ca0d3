"""Metrics that add up over rows, so that thousands of resamples cost one product of matrices.

A resample is told by how often it holds each row. Shapes: R rows, F numbers that add up, B
resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BUDGET = 100_000_000
"""Rows that are drawn for one interval."""

MIN_SAMPLES = 1_000
"""Resamples that are drawn all the same."""

Floats = NDArray[np.float64]

Terms = Callable[[Any], Any]
"""From answers to an array [R, F], or a sparse matrix of that shape."""

Total = Callable[[Floats], Floats]
"""From sums [B, F] to scores [B]; NaN where one cannot be told."""


class Metric(Protocol):
    """A score of answers, computed once or on many resamples together."""

    def __call__(self, judged: Any, /) -> float:  # noqa: ANN401 - the answers that it is a metric of
        """Score these rows."""

    def compute_resampled(self, judged: Any, counts_BR: Floats) -> Floats:  # noqa: ANN401 - as above
        """Score resamples of them, [B]."""

    def limit_samples(self, judged: Any, count: int) -> int:  # noqa: ANN401 - as above
        """Return how many resamples are scored in seconds, at most `count`."""


@dataclass(frozen=True, slots=True)
class AdditiveMetric:
    """A metric that is computed from sums over rows."""

    terms: Terms
    total: Total

    def __call__(self, judged: Any, /) -> float:  # noqa: ANN401 - the answers that it is a metric of
        """Score these rows."""
        sums_F = np.asarray(self.terms(judged).sum(axis=0), np.float64).reshape(1, -1)
        return float(self.total(sums_F)[0])

    def compute_resampled(self, judged: Any, counts_BR: Floats) -> Floats:  # noqa: ANN401 - as above
        """Score resamples of them, [B]."""
        return self.total(np.asarray(counts_BR @ self.terms(judged)))

    def limit_samples(self, judged: Any, count: int) -> int:  # noqa: ANN401 - as above
        """Take them all, but of very many rows fewer."""
        return min(count, max(MIN_SAMPLES, BUDGET // max(len(judged), 1)))


def stack_columns(*values: Any) -> Floats:  # noqa: ANN401 - numbers or flags, [R]
    """Lay numbers of rows side by side, [R, F]."""
    return np.stack([np.asarray(each, np.float64) for each in values], axis=1)


def compute_ratio(sums_BF: Floats) -> Floats:
    """Divide the first sum by the second; NaN where that is zero."""
    over_B, under_B = sums_BF[:, 0], sums_BF[:, 1]
    return divide_or(over_B, under_B, otherwise=np.nan)


def divide_or(over: Floats, under: Floats, *, otherwise: float) -> Floats:
    """Divide, and say something else where there is nothing to divide by."""
    filled = np.full(np.broadcast_shapes(over.shape, under.shape), otherwise)
    return np.asarray(np.divide(over, under, out=filled, where=under > 0))
