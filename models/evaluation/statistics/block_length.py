"""Block length of a bootstrap for rows that are correlated in time.

The rule of Politis and White (2004), corrected by Patton, Politis and White (2009), for the moving
block bootstrap: length = (1.5 (G / g)^2 n)^(1/3), where g is the spectral density at frequency 0
and G the sum of lag times autocovariance, both with a flat-top window up to twice the last
significant lag. For a score that is not a mean, the series is the influence of each row: the
gradient of the score by its sums, times the row's terms.
Shapes: R rows, F terms, L lags.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from models.evaluation.metrics.additive import AdditiveMetric, Floats, Metric
from models.evaluation.predictions import Predictions, SinglePredictions

_GRADIENT_STEP = 1e-6
"""Relative step of the central differences."""

_SIGNIFICANT_ERRORS = 2.0
"""Standard errors beyond which an autocorrelation is significant."""

_MIN_BLOCKS = 4
"""Blocks that have to fit into the rows; with fewer, no interval is reliable."""


def choose_block_length(rows: int, *, by_time: bool) -> int:
    """Choose about the cube root of the rows for a split by time, else 1."""
    return max(1, round(rows ** (1 / 3))) if by_time else 1


def choose_score_block(
    metrics: Iterable[Metric], predictions: Predictions, *, by_time: bool
) -> int:
    """Choose the block length for scores: the longest that one of the metrics needs."""
    shortest = choose_block_length(len(predictions), by_time=by_time)
    if not by_time:
        return shortest
    return max(
        [
            shortest,
            *(estimate_block_length(compute_influence(metric, predictions)) for metric in metrics),
        ]
    )


def choose_gain_block(
    metric: Metric, challenger: Predictions, reference: Predictions, *, by_time: bool
) -> int:
    """Choose the block length for the difference of two models' scores on the same rows."""
    shortest = choose_block_length(len(challenger), by_time=by_time)
    if not by_time:
        return shortest
    return max(
        shortest,
        estimate_block_length(
            compute_influence(metric, challenger) - compute_influence(metric, reference)
        ),
    )


def compute_influence(metric: Metric, predictions: Predictions) -> Floats:
    """Compute the influence of each row on a score, [R], up to a constant; zeros where unknown."""
    if isinstance(metric, AdditiveMetric):
        terms_RF = metric.terms(predictions)
        sums_F = np.asarray(terms_RF.sum(axis=0), np.float64).reshape(-1)
        influence_R = np.asarray(terms_RF @ _compute_gradient(metric, sums_F))
    elif isinstance(predictions, SinglePredictions) and predictions.probabilities_RK is not None:
        influence_R = _compute_target_probability(predictions)
    else:
        influence_R = np.zeros(len(predictions))
    return np.asarray(np.nan_to_num(influence_R, posinf=0.0, neginf=0.0))


def estimate_block_length(values_R: Floats) -> int:
    """Estimate the block length for the mean of a series, 1 to a quarter of its rows."""
    rows = len(values_R)
    centred_R = values_R - values_R.mean() if rows else values_R
    if rows < 2 * _MIN_BLOCKS or not centred_R.any():
        return 1
    quiet_lags = max(5, round(np.sqrt(np.log10(rows))))
    covariance_L = _compute_autocovariance(
        centred_R, lags=min(rows - 1, round(np.sqrt(rows)) + quiet_lags)
    )
    bandwidth = 2 * _find_last_significant_lag(
        covariance_L / covariance_L[0], rows=rows, quiet_lags=quiet_lags
    )
    lags_L = np.arange(1, min(max(bandwidth, 1), len(covariance_L) - 1) + 1)
    weights_L = np.clip(2 * (1 - lags_L / max(bandwidth, 1)), 0.0, 1.0)
    weighted_L = weights_L * covariance_L[lags_L]
    spectrum = covariance_L[0] + 2 * weighted_L.sum()
    if spectrum <= 0:
        return 1
    slope = 2 * (lags_L * weighted_L).sum()
    length = (1.5 * (slope / spectrum) ** 2 * rows) ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, rows // _MIN_BLOCKS))


def _compute_gradient(metric: AdditiveMetric, sums_F: Floats) -> Floats:
    """Differentiate a score by its sums, [F], by central differences."""
    steps_F = np.maximum(np.abs(sums_F), 1.0) * _GRADIENT_STEP
    offsets_FF = np.diag(steps_F)
    above_F, below_F = metric.total(sums_F + offsets_FF), metric.total(sums_F - offsets_FF)
    return np.asarray(np.nan_to_num((above_F - below_F) / (2 * steps_F)))


def _compute_target_probability(predictions: SinglePredictions) -> Floats:
    """Return the predicted probability of each row's target, [R]; 0 for unknown classes."""
    probabilities_RK: Any = predictions.probabilities_RK
    known_R = (predictions.target_R >= 0) & (predictions.target_R < probabilities_RK.shape[1])
    codes_R = np.where(known_R, predictions.target_R, 0).astype(np.int64)
    return np.where(known_R, probabilities_RK[np.arange(len(predictions)), codes_R], 0.0)


def _compute_autocovariance(centred_R: Floats, *, lags: int) -> Floats:
    """Compute the autocovariance at lags 0 to `lags`, [L + 1], by FFT."""
    rows = len(centred_R)
    padded = 1 << (2 * rows - 1).bit_length()
    power = np.abs(np.fft.rfft(centred_R, padded)) ** 2
    return np.asarray(np.fft.irfft(power, padded)[: lags + 1] / rows)


def _find_last_significant_lag(correlation_L: Floats, *, rows: int, quiet_lags: int) -> int:
    """Find the last lag before `quiet_lags` consecutive correlations that are not significant."""
    bound = _SIGNIFICANT_ERRORS * np.sqrt(np.log10(rows) / rows)
    significant_L = np.abs(correlation_L[1:]) >= bound
    for lag in range(len(significant_L) - quiet_lags + 1):
        if not significant_L[lag : lag + quiet_lags].any():
            return lag
    return int(np.flatnonzero(significant_L)[-1]) + 1 if significant_L.any() else 0
