"""How far rows that follow each other depend on each other: the length of a bootstrap's blocks.

The rule is Politis and White's (2004), with the correction of Patton, Politis and White (2009),
for blocks of one length. It reads how fast the autocorrelation of what decides dies away, so that
windows which overlap, or errors that last, are drawn in longer runs. Of a score that is no mean,
the influence of each row decides: the gradient of the score by its sums, times what the row adds.
Shapes: R rows, F sums.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from models.evaluation.metrics.additive import AdditiveMetric, Floats, Metric
from models.evaluation.predictions import Predictions, SinglePredictions

STEP = 1e-6
"""Of a sum, by which the gradient is looked for."""

CERTAIN = 2.0
"""Standard errors beyond which an autocorrelation is none by chance."""

MIN_BLOCKS = 4
"""So many fit into the rows; with as few nothing is beyond doubt."""


def choose_block_length(rows: int, *, by_time: bool) -> int:
    """Choose runs of about the cube root of the rows for a split by time, else single rows."""
    return max(1, round(rows ** (1 / 3))) if by_time else 1


def choose_score_block(metrics: Iterable[Metric], judged: Predictions, *, by_time: bool) -> int:
    """Choose runs for scores: as long as what a row adds to any of them depends on the past."""
    least = choose_block_length(len(judged), by_time=by_time)
    if not by_time:
        return least
    return max(
        [least, *(estimate_block_length(compute_influence(metric, judged)) for metric in metrics)]
    )


def choose_gain_block(
    metric: Metric, challenger: Predictions, rival: Predictions, *, by_time: bool
) -> int:
    """Choose runs for the difference of two scores on the same rows."""
    least = choose_block_length(len(challenger), by_time=by_time)
    if not by_time:
        return least
    return max(
        least,
        estimate_block_length(
            compute_influence(metric, challenger) - compute_influence(metric, rival)
        ),
    )


def compute_influence(metric: Metric, judged: Predictions) -> Floats:
    """Return what each row does to a score, [R], up to a constant; zeros where nobody knows."""
    if isinstance(metric, AdditiveMetric):
        terms_RF = metric.terms(judged)
        sums_F = np.asarray(terms_RF.sum(axis=0), np.float64).reshape(-1)
        told_R = np.asarray(terms_RF @ compute_gradient(metric, sums_F))
    elif isinstance(judged, SinglePredictions) and judged.probabilities_RK is not None:
        told_R = compute_target_probability(judged)
    else:
        told_R = np.zeros(len(judged))
    return np.asarray(np.nan_to_num(told_R, posinf=0.0, neginf=0.0))


def compute_gradient(metric: AdditiveMetric, sums_F: Floats) -> Floats:
    """Differentiate a score by its sums, [F], by central differences."""
    steps_F = np.maximum(np.abs(sums_F), 1.0) * STEP
    moved_FF = np.diag(steps_F)
    risen_F, fallen_F = metric.total(sums_F + moved_FF), metric.total(sums_F - moved_FF)
    return np.asarray(np.nan_to_num((risen_F - fallen_F) / (2 * steps_F)))


def compute_target_probability(answers: SinglePredictions) -> Floats:
    """Return the probability that each row's answer was given, [R]; 0 for classes without one."""
    probabilities_RK: Any = answers.probabilities_RK
    known_R = (answers.target_R >= 0) & (answers.target_R < probabilities_RK.shape[1])
    places_R = np.where(known_R, answers.target_R, 0).astype(np.int64)
    return np.where(known_R, probabilities_RK[np.arange(len(answers)), places_R], 0.0)


def estimate_block_length(values_R: Floats) -> int:
    """Choose a block length for the mean of a series, 1 to a quarter of it."""
    rows = len(values_R)
    centred_R = values_R - values_R.mean() if rows else values_R
    if rows < 2 * MIN_BLOCKS or not centred_R.any():
        return 1
    quiet = max(5, round(np.sqrt(np.log10(rows))))
    covariance_L = compute_autocovariance(
        centred_R, lags=min(rows - 1, round(np.sqrt(rows)) + quiet)
    )
    reach = 2 * find_last_significant_lag(covariance_L / covariance_L[0], rows=rows, quiet=quiet)
    lags_L = np.arange(1, min(max(reach, 1), len(covariance_L) - 1) + 1)
    weights_L = np.clip(2 * (1 - lags_L / max(reach, 1)), 0.0, 1.0)
    weighted_L = weights_L * covariance_L[lags_L]
    spectrum = covariance_L[0] + 2 * weighted_L.sum()
    if spectrum <= 0:
        return 1
    slope = 2 * (lags_L * weighted_L).sum()
    length = (1.5 * (slope / spectrum) ** 2 * rows) ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, rows // MIN_BLOCKS))


def compute_autocovariance(centred_R: Floats, *, lags: int) -> Floats:
    """Return the covariance of a series with itself, 0 to `lags` steps later, [L + 1]."""
    rows = len(centred_R)
    padded = 1 << (2 * rows - 1).bit_length()
    power = np.abs(np.fft.rfft(centred_R, padded)) ** 2
    return np.asarray(np.fft.irfft(power, padded)[: lags + 1] / rows)


def find_last_significant_lag(correlation_L: Floats, *, rows: int, quiet: int) -> int:
    """Find the lag after which `quiet` correlations in a row may be none."""
    bound = CERTAIN * np.sqrt(np.log10(rows) / rows)
    loud_L = np.abs(correlation_L[1:]) >= bound
    for lag in range(len(loud_L) - quiet + 1):
        if not loud_L[lag : lag + quiet].any():
            return lag
    return int(np.flatnonzero(loud_L)[-1]) + 1 if loud_L.any() else 0
