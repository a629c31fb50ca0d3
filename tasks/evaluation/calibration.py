"""Calibration of the candidate's probabilities, and coverage of its sets and intervals.

Both are measured on the test rows. Shapes: R test rows, K classes, T steps of a forecast,
M members of all prediction sets.
"""

from typing import Any, Literal

import numpy as np
import polars as pl

from models.calibration import Calibration
from models.evaluation.metrics.calibration import (
    compute_reliability,
    measure_coverage,
    undo_temperature,
)
from models.evaluation.predictions import Floats
from models.features.featurizer import Featurizer
from models.features.target import read_numbers
from tasks.dataset.labels import TestRows
from tasks.prediction.test_predictions import read_number_lists
from tasks.report_record import (
    CalibrationRecord,
    ConformalRecord,
    Reliability,
    ReliabilityBin,
    StepCoverage,
)

_LOW, _HIGH = "interval_low", "interval_high"

_NOT_EXCHANGEABLE = (
    "the rows follow each other in time, so the nominal coverage is not guaranteed for new rows; "
    "this is what was measured"
)


def measure_calibration(
    predictions: pl.DataFrame,
    test: TestRows,
    featurizer: Featurizer,
    calibration: Calibration | None,
) -> CalibrationRecord | None:
    """Compare confidence with accuracy, before and after temperature scaling; of classes alone."""
    if calibration is None or featurizer.target.kind != "category":
        return None
    known = predictions["probabilities"].is_not_null()
    width = len(featurizer.target.classes)
    after_RK = read_number_lists(predictions["probabilities"].filter(known), width)
    if not len(after_RK):
        return None
    codes_R = featurizer.target.encode(predictions["prediction"].filter(known))
    correct_R = codes_R == test.targets[known.to_numpy()]
    before_RK = undo_temperature(after_RK, calibration.temperature)
    return CalibrationRecord(
        temperature=calibration.temperature,
        fitted_on=calibration.description,
        before=_build_reliability(compute_reliability(before_RK.max(axis=1), correct_R)),
        after=_build_reliability(compute_reliability(after_RK.max(axis=1), correct_R)),
    )


def measure_conformal(
    predictions: pl.DataFrame,
    test: TestRows,
    featurizer: Featurizer,
    calibration: Calibration | None,
    *,
    confidence: float,
) -> ConformalRecord | None:
    """Measure how many sets or intervals contain the target; None where the model gives none.

    `confidence` is that of the interval of the measured coverage.
    """
    if calibration is None:
        return None
    if "prediction_set" in predictions.columns:
        kind: Literal["sets", "intervals"] = "sets"
        measured = _measure_sets(
            predictions["prediction_set"], test.targets, featurizer, confidence=confidence
        )
    elif _LOW in predictions.columns:
        kind = "intervals"
        measured = _measure_intervals(predictions, test.targets, confidence=confidence)
    else:
        return None
    return ConformalRecord(
        kind=kind,
        confidence=calibration.coverage,
        fitted_on=calibration.description,
        note=None if calibration.exchangeable else _NOT_EXCHANGEABLE,
        **measured,
    )


def _build_reliability(found: dict[str, Any]) -> Reliability:
    """Convert what the metric gives."""
    return Reliability(ece=found["ece"], bins=[ReliabilityBin(**each) for each in found["bins"]])


def _measure_sets(
    sets: pl.Series, target_R: Floats, featurizer: Featurizer, *, confidence: float
) -> dict[str, Any]:
    """Count the sets that contain the target; a row without a prediction has an empty one."""
    sizes_R = sets.list.len().fill_null(0).to_numpy().astype(np.int64)
    codes_M = featurizer.target.encode(sets.drop_nulls().explode())
    row_M = np.repeat(np.arange(len(sets)), sizes_R)
    covered_R = np.bincount(row_M, codes_M == target_R[row_M], minlength=len(sets)) > 0
    return {"by_step": None, **measure_coverage(covered_R, sizes_R, confidence=confidence)}


def _measure_intervals(
    predictions: pl.DataFrame, target: Floats, *, confidence: float
) -> dict[str, Any]:
    """Count the intervals that contain the target [R] or [R, T], over all steps and by step."""
    if target.ndim == 1:
        target_RT = target[:, None]
        low_RT, high_RT = (read_numbers(predictions[name])[:, None] for name in (_LOW, _HIGH))
    else:
        target_RT, steps = target, target.shape[1]
        low_RT, high_RT = (read_number_lists(predictions[name], steps) for name in (_LOW, _HIGH))
    # A step with too few calibration rows has no interval, so it has no nominal coverage either.
    has_interval_T = np.isfinite(low_RT).any(axis=0)
    valid_RT = np.isfinite(target_RT) & has_interval_T
    covered_RT = (low_RT <= target_RT) & (target_RT <= high_RT)
    width_RT = np.nan_to_num(high_RT - low_RT)
    if not valid_RT.any():
        names = ("coverage", "coverage_low", "coverage_high", "size", "by_step")
        return {"rows": 0, **dict.fromkeys(names)}
    by_step = []
    for step, valid in enumerate(valid_RT.T):
        if valid.any():
            covered, widths = covered_RT[valid, step], width_RT[valid, step]
            found: dict[str, Any] = dict(measure_coverage(covered, widths, confidence=confidence))
            by_step.append(StepCoverage(step=step + 1, **found))
    return {
        **measure_coverage(covered_RT[valid_RT], width_RT[valid_RT], confidence=confidence),
        "by_step": by_step if target.ndim > 1 else None,
    }
