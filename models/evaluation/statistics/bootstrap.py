"""How sure a score is: percentile bootstrap (Efron and Tibshirani 1993), paired for differences.

Rows that are neighbours in time are not independent, so a split by time is resampled in blocks
(moving block bootstrap, Kuensch 1989). Rows of classes are resampled class by class, so that a
rare class is neither lost nor doubled; classes of a few rows are drawn from together. Where few
rows decide (a rare class in a mean over classes), percentiles are too narrow: the interval of a
gain is therefore never narrower than what swapping the two models' answers shows.
Shapes: R rows, B resamples.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import Floats, Metric
from models.evaluation.predictions import Predictions, SinglePredictions
from models.evaluation.statistics.permutation import compute_null_gains

MIN_STRATUM_ROWS = 5
"""Below so many rows, classes are drawn from together."""

CHUNK = 8_000_000
"""Counts that are held at once."""


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float


def draw_blocks(rows: int, *, count: int, block: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw row indices with repetition, in runs of `block` neighbours."""
    draw = np.random.default_rng(seed)
    block = min(block, rows)
    runs = -(-rows // block)
    for _ in range(count):
        starts = draw.integers(0, rows - block + 1, runs)
        yield (starts[:, None] + np.arange(block)).reshape(-1)[:rows]


def draw_stratified(
    strata_R: NDArray[np.int64], *, count: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Draw row indices with repetition, from each stratum as many as it has."""
    draw = np.random.default_rng(seed)
    order = np.argsort(strata_R, kind="stable")
    _, first_K, place_R, size_K = np.unique(
        strata_R[order], return_index=True, return_inverse=True, return_counts=True
    )
    for _ in range(count):
        inside_R = (draw.random(len(order)) * size_K[place_R]).astype(np.int64)
        yield order[first_K[place_R] + inside_R]


def assign_strata(answers: SinglePredictions) -> NDArray[np.int64]:
    """Return each row its class; -2 for classes of a few rows."""
    codes, place_R, size_K = np.unique(answers.target_R, return_inverse=True, return_counts=True)
    return np.where(size_K < MIN_STRATUM_ROWS, -2, codes)[place_R].astype(np.int64)


def draw_resamples(
    judged: Predictions, *, count: int, block: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Resample rows as their kind asks for."""
    if block == 1 and isinstance(judged, SinglePredictions) and judged.classes:
        return draw_stratified(assign_strata(judged), count=count, seed=seed)
    return draw_blocks(len(judged), count=count, block=block, seed=seed)


def count_draws(draws: Iterator[NDArray[np.int64]], rows: int) -> Iterator[Floats]:
    """Count how often each resample holds each row, [B, R], so many resamples at a time."""
    size = max(1, CHUNK // max(rows, 1))
    while held := list(islice(draws, size)):
        yield np.stack([np.bincount(each, minlength=rows) for each in held]).astype(np.float64)


def compute_resampled_metrics(
    metrics: Mapping[str, Callable[[Floats], Floats]],
    counts: Mapping[str, int],
    draws: Iterator[NDArray[np.int64]],
    rows: int,
) -> dict[str, Floats]:
    """Compute several numbers of the same resamples, of each as many as it is worth."""
    held: dict[str, list[Floats]] = {name: [] for name in metrics}
    done = 0
    for counts_BR in count_draws(draws, rows):
        for name, compute in metrics.items():
            if (left := counts[name] - done) > 0:
                held[name].append(compute(counts_BR[:left]))
        done += len(counts_BR)
    return {name: np.concatenate(parts) for name, parts in held.items()}


def compute_percentile_interval(values: Floats, confidence: float) -> Interval:
    """Cut off equal tails; resamples in which nothing can be told are left out."""
    tail = (1.0 - confidence) / 2
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def compute_score_intervals(
    metrics: Mapping[str, Metric],
    judged: Predictions,
    *,
    confidence: float,
    count: int,
    block: int,
    seed: int,
) -> dict[str, Interval]:
    """Intervals of one model's scores, from the same resamples."""

    def computed(metric: Metric) -> Callable[[Floats], Floats]:
        return lambda counts_BR: metric.compute_resampled(judged, counts_BR)

    found = compute_resampled_metrics(
        {name: computed(metric) for name, metric in metrics.items()},
        {name: metric.limit_samples(judged, count) for name, metric in metrics.items()},
        draw_resamples(judged, count=count, block=block, seed=seed),
        len(judged),
    )
    return {name: compute_percentile_interval(values, confidence) for name, values in found.items()}


def compute_score_interval(
    metric: Metric, answers: Predictions, *, confidence: float, count: int, block: int, seed: int
) -> Interval:
    """Interval of one model's score."""
    return compute_score_intervals(
        {"": metric}, answers, confidence=confidence, count=count, block=block, seed=seed
    )[""]


def compute_gain_interval(
    metric: Metric,
    challenger: Predictions,
    reference: Predictions,
    *,
    sign: float,
    confidence: float,
    count: int,
    block: int,
    seed: int,
) -> Interval:
    """Interval of the challenger's gain over a rival on the same rows, resampled together.

    The wider end of each of two: percentiles of resamples, and the gain give or take what chance
    shows. `sign` is 1 where more is better and -1 where less is.
    """

    def gains(counts_BR: Floats) -> Floats:
        own_B = metric.compute_resampled(challenger, counts_BR)
        return np.asarray(sign * (own_B - metric.compute_resampled(reference, counts_BR)))

    affordable = min(metric.limit_samples(each, count) for each in (challenger, reference))
    draws = draw_resamples(challenger, count=affordable, block=block, seed=seed)
    found = compute_resampled_metrics({"": gains}, {"": affordable}, draws, len(challenger))
    low, high = compute_percentile_interval(found[""], confidence)
    # What one run still knows of the next makes many short ones seem to be more than they are.
    runs = block if block == 1 else 2 * block
    chance_B = compute_null_gains(metric, challenger, reference, count=count, block=runs, seed=seed)
    known = np.abs(chance_B[~np.isnan(chance_B)])
    if not len(known):
        return Interval(float("nan"), float("nan"))
    gain = sign * (metric(challenger) - metric(reference))
    usual = float(np.quantile(known, confidence, method="higher"))
    return Interval(float(np.minimum(low, gain - usual)), float(np.maximum(high, gain + usual)))
