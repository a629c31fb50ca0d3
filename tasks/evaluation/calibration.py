"""How sure the candidate says it is, measured on the test rows: calibration and coverage.

Shapes: R test rows, K classes, T steps of a forecast.
"""

from typing import Any

import numpy as np
import polars as pl

from models.calibration import Calibration
from models.evaluation.metrics.calibration import covered, reliability, without_temperature
from models.evaluation.predictions import Floats
from models.features.featurizer import Featurizer
from models.features.target import to_numbers
from tasks.dataset.labels import TestRows
from tasks.prediction.test_predictions import numbers_of

LOW, HIGH = "interval_low", "interval_high"

IN_TIME = (
    "the rows follow each other in time, so that no promise holds beyond those that it was made "
    "on; this is what was measured"
)


def calibration_of(
    answered: pl.DataFrame,
    test: TestRows,
    featurizer: Featurizer,
    calibration: Calibration | None,
) -> dict[str, Any] | None:
    """Tell how sure the answers are and how many are right, before and after; of classes alone."""
    if calibration is None or featurizer.target.kind != "category":
        return None
    known = answered["probabilities"].is_not_null()
    width = len(featurizer.target.classes)
    after_RK = numbers_of(answered["probabilities"].filter(known), width)
    if not len(after_RK):
        return None
    codes = featurizer.target.encode(answered["prediction"].filter(known))
    right_R = codes == test.truth[known.to_numpy()]
    before_RK = without_temperature(after_RK, calibration.temperature)
    return {
        "temperature": calibration.temperature,
        "fitted_on": calibration.words,
        "before": reliability(before_RK.max(axis=1), right_R),
        "after": reliability(after_RK.max(axis=1), right_R),
    }


def conformal_of(
    answered: pl.DataFrame,
    test: TestRows,
    featurizer: Featurizer,
    calibration: Calibration | None,
    *,
    confidence: float,
) -> dict[str, Any] | None:
    """Tell how many sets or intervals hold the truth; None where the model gives none.

    `confidence` is that of the measurement's own interval.
    """
    if calibration is None:
        return None
    told: dict[str, Any] = {"confidence": calibration.confidence, "fitted_on": calibration.words}
    if not calibration.exchangeable:
        told["words"] = IN_TIME
    if "prediction_set" in answered.columns:
        return (
            told
            | {"kind": "sets", "by_step": None}
            | sets_of(answered["prediction_set"], test.truth, featurizer, confidence=confidence)
        )
    if LOW not in answered.columns:
        return None
    return told | {"kind": "intervals"} | intervals_of(answered, test.truth, confidence=confidence)


def sets_of(
    sets: pl.Series, truth_R: Floats, featurizer: Featurizer, *, confidence: float
) -> dict[str, Any]:
    """Count the sets that hold the truth, which a row without an answer does not."""
    sizes_R = sets.list.len().fill_null(0).to_numpy().astype(np.int64)
    codes_M = featurizer.target.encode(sets.drop_nulls().explode())
    row_M = np.repeat(np.arange(len(sets)), sizes_R)
    held_R = np.bincount(row_M, codes_M == truth_R[row_M], minlength=len(sets)) > 0
    return dict(covered(held_R, sizes_R, confidence=confidence))


def intervals_of(answered: pl.DataFrame, truth: Floats, *, confidence: float) -> dict[str, Any]:
    """Count the intervals that hold the truth, over all steps and step by step."""
    if truth.ndim == 1:
        truth_RT = truth[:, None]
        low_RT, high_RT = (to_numbers(answered[name])[:, None] for name in (LOW, HIGH))
    else:
        truth_RT, steps = truth, truth.shape[1]
        low_RT, high_RT = (numbers_of(answered[name], steps) for name in (LOW, HIGH))
    # A step with too few calibration rows has no interval, and promises nothing.
    told_T = np.isfinite(low_RT).any(axis=0)
    asked_RT = np.isfinite(truth_RT) & told_T
    held_RT = (low_RT <= truth_RT) & (truth_RT <= high_RT)
    width_RT = np.nan_to_num(high_RT - low_RT)
    if not asked_RT.any():
        names = ("coverage", "coverage_low", "coverage_high", "size", "by_step")
        return {"rows": 0} | dict.fromkeys(names)
    found: dict[str, Any] = dict(
        covered(held_RT[asked_RT], width_RT[asked_RT], confidence=confidence)
    )
    steps_told = [
        {
            "step": step + 1,
            **covered(held_RT[asked, step], width_RT[asked, step], confidence=confidence),
        }
        for step, asked in enumerate(asked_RT.T)
        if asked.any()
    ]
    return found | {"by_step": steps_told if truth.ndim > 1 else None}
