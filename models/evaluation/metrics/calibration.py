"""Calibration of probabilities, and measured coverage of sets and intervals.

Expected calibration error (Guo et al. 2017): ECE = sum over bins b of n_b / n * |acc_b - conf_b|,
with bins of equal width in the confidence. The interval of a coverage is the exact binomial one
(Clopper and Pearson 1934), for independent rows.
Shapes: R rows, K classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import Flags, Floats

_BINS = 15


def compute_reliability(confidence_R: Floats, correct_R: Flags) -> dict[str, Any]:
    """Compute the expected calibration error, and rows, confidence and accuracy of each bin.

    Args:
        confidence_R: probability of the predicted class.
        correct_R: whether the prediction is correct.
    """
    bin_R = np.clip(np.ceil(confidence_R * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    rows = np.bincount(bin_R, minlength=_BINS)
    sums = [
        np.bincount(bin_R, values, _BINS) for values in (confidence_R, correct_R.astype(np.float64))
    ]
    confidence, accuracy = (each / np.maximum(rows, 1) for each in sums)
    bins = [
        {
            "low": index / _BINS,
            "high": (index + 1) / _BINS,
            "rows": int(rows[index]),
            "confidence": float(confidence[index]) if rows[index] else None,
            "accuracy": float(accuracy[index]) if rows[index] else None,
        }
        for index in range(_BINS)
    ]
    error = float((rows * np.abs(confidence - accuracy)).sum() / max(rows.sum(), 1))
    return {"ece": error, "bins": bins}


def undo_temperature(probabilities_RK: Floats, temperature: float) -> Floats:
    """Return the probabilities without temperature scaling: softmax(temperature * log p)."""
    with np.errstate(divide="ignore"):
        logs_RK = temperature * np.log(probabilities_RK)
    powers_RK = np.exp(logs_RK - logs_RK.max(axis=1, keepdims=True))
    return np.asarray(powers_RK / powers_RK.sum(axis=1, keepdims=True))


def compute_binomial_interval(successes: int, rows: int, confidence: float) -> tuple[float, float]:
    """Compute the exact interval of a share, from its successes among `rows`."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, rows - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, rows - successes)) if successes < rows else 1.0
    return low, high


def measure_coverage(
    covered_R: Flags, sizes_R: NDArray[Any], *, confidence: float
) -> dict[str, float | int]:
    """Return the share of covered rows with its interval, and the mean size.

    Args:
        covered_R: whether the set or interval of a row contains the target.
        sizes_R: classes of a set, or width of an interval.
        confidence: of the interval of the share.
    """
    rows, covered = len(covered_R), int(covered_R.sum())
    low, high = compute_binomial_interval(covered, rows, confidence)
    return {
        "rows": rows,
        "coverage": covered / rows,
        "coverage_low": low,
        "coverage_high": high,
        "size": float(sizes_R.mean()),
    }
