"""Confidence intervals: percentile bootstrap (Efron and Tibshirani 1993), paired for differences.

Neighbouring rows in time are correlated, so a split by time is resampled in blocks (moving block
bootstrap, Kuensch 1989). Rows with classes are resampled within each class, so that a rare class
is neither lost nor doubled; the rarest classes form one stratum. Where few rows decide (a rare
class in a mean over classes), percentiles are too narrow: the interval of a gain is therefore never
narrower than that of swapping the two models' predictions at random.
Shapes: R rows, K strata, B resamples.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import Floats, Metric
from models.evaluation.predictions import Predictions, SinglePredictions
from models.evaluation.statistics.permutation import compute_null_gains

_MIN_STRATUM_ROWS = 5
"""Classes with fewer rows share a stratum."""

_CHUNK = 8_000_000
"""Largest number of counts in memory."""


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float


def draw_blocks(rows: int, *, count: int, block: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw row indices with replacement, in runs of `block` neighbours."""
    generator = np.random.default_rng(seed)
    block = min(block, rows)
    runs = -(-rows // block)
    for _ in range(count):
        starts = generator.integers(0, rows - block + 1, runs)
        yield (starts[:, None] + np.arange(block)).reshape(-1)[:rows]


def assign_strata(predictions: SinglePredictions) -> NDArray[np.int64]:
    """Return the stratum of each row: its class, or -2 for the rarest classes."""
    codes, class_R, size_K = np.unique(
        predictions.target_R, return_inverse=True, return_counts=True
    )
    return np.where(size_K < _MIN_STRATUM_ROWS, -2, codes)[class_R].astype(np.int64)


def draw_resamples(
    predictions: Predictions, *, count: int, block: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Draw resamples of rows: stratified for single rows with classes, else in blocks."""
    if block == 1 and isinstance(predictions, SinglePredictions) and predictions.num_classes:
        return _draw_stratified(assign_strata(predictions), count=count, seed=seed)
    return draw_blocks(len(predictions), count=count, block=block, seed=seed)


def compute_resampled_metrics(
    metrics: Mapping[str, Callable[[Floats], Floats]],
    counts: Mapping[str, int],
    draws: Iterator[NDArray[np.int64]],
    rows: int,
) -> dict[str, Floats]:
    """Compute several metrics on the same resamples.

    Args:
        metrics: from counts [B, R] to values [B], by name.
        counts: how many of the resamples each metric is computed on.
        draws: row indices of each resample.
        rows: R.
    """
    parts_by_name: dict[str, list[Floats]] = {name: [] for name in metrics}
    done = 0
    for counts_BR in _count_draws(draws, rows):
        for name, compute in metrics.items():
            if (left := counts[name] - done) > 0:
                parts_by_name[name].append(compute(counts_BR[:left]))
        done += len(counts_BR)
    return {name: np.concatenate(parts) for name, parts in parts_by_name.items()}


def compute_percentile_interval(values: Floats, confidence: float) -> Interval:
    """Return the interval with equal tails; resamples with an undefined value are left out."""
    tail = (1.0 - confidence) / 2
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def compute_score_intervals(
    metrics: Mapping[str, Metric],
    predictions: Predictions,
    *,
    confidence: float,
    count: int,
    block: int,
    seed: int,
) -> dict[str, Interval]:
    """Compute the intervals of one model's scores, from the same resamples."""

    def resample_metric(metric: Metric) -> Callable[[Floats], Floats]:
        return lambda counts_BR: metric.compute_resampled(predictions, counts_BR)

    resampled = compute_resampled_metrics(
        {name: resample_metric(metric) for name, metric in metrics.items()},
        {name: metric.limit_samples(predictions, count) for name, metric in metrics.items()},
        draw_resamples(predictions, count=count, block=block, seed=seed),
        len(predictions),
    )
    return {
        name: compute_percentile_interval(values, confidence) for name, values in resampled.items()
    }


def compute_score_interval(
    metric: Metric,
    predictions: Predictions,
    *,
    confidence: float,
    count: int,
    block: int,
    seed: int,
) -> Interval:
    """Compute the interval of one model's score."""
    return compute_score_intervals(
        {"": metric}, predictions, confidence=confidence, count=count, block=block, seed=seed
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
    """Compute the interval of the challenger's gain over another model on the same rows.

    Each end is the wider one of two intervals: the percentiles of paired resamples, and the gain
    plus or minus the quantile of the gains under random swaps. `sign` is 1 where a higher score is
    better, -1 where a lower one is.
    """

    def compute_gains(counts_BR: Floats) -> Floats:
        own_B = metric.compute_resampled(challenger, counts_BR)
        return np.asarray(sign * (own_B - metric.compute_resampled(reference, counts_BR)))

    affordable = min(metric.limit_samples(each, count) for each in (challenger, reference))
    draws = draw_resamples(challenger, count=affordable, block=block, seed=seed)
    resampled = compute_resampled_metrics(
        {"": compute_gains}, {"": affordable}, draws, len(challenger)
    )
    low, high = compute_percentile_interval(resampled[""], confidence)
    # Neighbouring blocks are still correlated, so swaps of single blocks would be too optimistic.
    swap_block = block if block == 1 else 2 * block
    null_gains_B = compute_null_gains(
        metric, challenger, reference, count=count, block=swap_block, seed=seed
    )
    known = np.abs(null_gains_B[~np.isnan(null_gains_B)])
    if not len(known):
        return Interval(float("nan"), float("nan"))
    gain = sign * (metric(challenger) - metric(reference))
    margin = float(np.quantile(known, confidence, method="higher"))
    return Interval(float(np.minimum(low, gain - margin)), float(np.maximum(high, gain + margin)))


def _draw_stratified(
    strata_R: NDArray[np.int64], *, count: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Draw row indices with replacement, from each stratum as many as it has."""
    generator = np.random.default_rng(seed)
    order = np.argsort(strata_R, kind="stable")
    _, first_K, stratum_R, size_K = np.unique(
        strata_R[order], return_index=True, return_inverse=True, return_counts=True
    )
    for _ in range(count):
        offset_R = (generator.random(len(order)) * size_K[stratum_R]).astype(np.int64)
        yield order[first_K[stratum_R] + offset_R]


def _count_draws(draws: Iterator[NDArray[np.int64]], rows: int) -> Iterator[Floats]:
    """Count how often each resample contains each row, [B, R], in chunks of resamples."""
    size = max(1, _CHUNK // max(rows, 1))
    while chunk := list(islice(draws, size)):
        yield np.stack([np.bincount(indices, minlength=rows) for indices in chunk]).astype(
            np.float64
        )
