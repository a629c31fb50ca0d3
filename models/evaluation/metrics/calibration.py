"""Whether a model is as sure as it is right: reliability, its error, and measured coverage.

The expected calibration error is the mean distance between how sure a model says it is and how
often it is right, over bins of equal width, each as heavy as its rows (Guo et al. 2017). The
interval of a coverage is exact for independent rows (Clopper and Pearson 1934).
Shapes: R rows, K classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import Flags, Floats

BINS = 15


def compute_reliability(sure_R: Floats, right_R: Flags) -> dict[str, Any]:
    """Return the calibration error, and rows, confidence and accuracy of each bin."""
    place_R = np.clip(np.ceil(sure_R * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows = np.bincount(place_R, minlength=BINS)
    sums = [np.bincount(place_R, values, BINS) for values in (sure_R, right_R.astype(np.float64))]
    sure, right = (each / np.maximum(rows, 1) for each in sums)
    bins = [
        {
            "low": place / BINS,
            "high": (place + 1) / BINS,
            "rows": int(rows[place]),
            "confidence": float(sure[place]) if rows[place] else None,
            "accuracy": float(right[place]) if rows[place] else None,
        }
        for place in range(BINS)
    ]
    error = float((rows * np.abs(sure - right)).sum() / max(rows.sum(), 1))
    return {"ece": error, "bins": bins}


def undo_temperature(probabilities_RK: Floats, temperature: float) -> Floats:
    """Return the probabilities as they were before a temperature: its power, made to add up."""
    with np.errstate(divide="ignore"):
        logs_RK = temperature * np.log(probabilities_RK)
    odds_RK = np.exp(logs_RK - logs_RK.max(axis=1, keepdims=True))
    return np.asarray(odds_RK / odds_RK.sum(axis=1, keepdims=True))


def compute_share_interval(held: int, rows: int, confidence: float) -> tuple[float, float]:
    """Bound the share of which `held` of so many rows were seen."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, held, rows - held + 1)) if held else 0.0
    high = float(beta.ppf(1 - tail, held + 1, rows - held)) if held < rows else 1.0
    return low, high


def measure_coverage(
    held_R: Flags, sizes_R: NDArray[Any], *, confidence: float
) -> dict[str, float | int]:
    """Return how many rows' sets or intervals held the truth, and how large these are."""
    rows, held = len(held_R), int(held_R.sum())
    low, high = compute_share_interval(held, rows, confidence)
    return {
        "rows": rows,
        "coverage": held / rows,
        "coverage_low": low,
        "coverage_high": high,
        "size": float(sizes_R.mean()),
    }
