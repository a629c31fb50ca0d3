"""How sure a score is: percentile bootstrap (Efron and Tibshirani 1993), paired for differences.

Rows that are neighbours in time are not independent, so a split by time is resampled in blocks
(moving block bootstrap, Kuensch 1989).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judged import Judged
from models.evaluation.metrics import Metric


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float


def resamples(rows: int, *, count: int, block: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw row indices with repetition, in runs of `block` neighbours."""
    draw = np.random.default_rng(seed)
    block = min(block, rows)
    runs = -(-rows // block)
    for _ in range(count):
        starts = draw.integers(0, rows - block + 1, runs)
        yield (starts[:, None] + np.arange(block)).reshape(-1)[:rows]


def block_length(rows: int, *, by_time: bool) -> int:
    """Choose runs of about the cube root of the rows for a split by time, else single rows."""
    return max(1, round(rows ** (1 / 3))) if by_time else 1


def interval(values: list[float], confidence: float) -> Interval:
    """Cut off equal tails."""
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(np.array(values), [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def score_interval(
    metric: Metric, answers: Judged, *, confidence: float, count: int, block: int, seed: int
) -> Interval:
    """Interval of one model's score."""
    rows = len(answers)
    draws = resamples(rows, count=count, block=block, seed=seed)
    return interval([metric(answers.pick(draw)) for draw in draws], confidence)


def gain_interval(
    metric: Metric,
    challenger: Judged,
    rival: Judged,
    *,
    sign: float,
    confidence: float,
    count: int,
    block: int,
    seed: int,
) -> Interval:
    """Interval of the challenger's gain over a rival on the same rows, resampled together.

    `sign` is 1 where more is better and -1 where less is.
    """
    rows = len(challenger)
    draws = resamples(rows, count=count, block=block, seed=seed)
    gains = [sign * (metric(challenger.pick(draw)) - metric(rival.pick(draw))) for draw in draws]
    return interval(gains, confidence)
