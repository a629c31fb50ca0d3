"""Calibration of the candidate's probabilities, and coverage of its sets and intervals.

Both are measured on the test rows. Shapes: R test rows, K classes, T numbers of a forecast (its
steps, of several columns by step and then by column), M members of all prediction sets.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.calibration import Calibration
from models.evaluation.metrics.calibration import (
    compute_reliability,
    measure_coverage,
    undo_temperature,
)
from models.evaluation.predictions import ColumnScales, Floats
from models.features.featurizer import Featurizer
from models.features.target import Target, read_numbers
from tasks.dataset.labels import TestRows
from tasks.prediction.test_predictions import read_forecast_lists, read_number_lists
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
    columns: ColumnScales | None = None,
) -> ConformalRecord | None:
    """Measure how many sets or intervals contain the target; None where the model gives none.

    Args:
        predictions: of the test rows.
        test: the test rows.
        featurizer: of the model.
        calibration: of the model.
        confidence: of the interval of the measured coverage.
        columns: of a forecast of several columns; widths are then in their standard deviations.
    """
    if calibration is None:
        return None
    if "prediction_set" in predictions.columns:
        kind: Literal["sets", "intervals"] = "sets"
        measured = _measure_sets(
            predictions["prediction_set"], test.targets, featurizer, confidence=confidence
        )
    elif featurizer.target.list_output_names(_LOW)[0] in predictions.columns:
        kind = "intervals"
        bounds = read_bounds(predictions, test.targets, featurizer.target)
        measured = _measure_intervals(bounds, confidence=confidence, columns=columns)
        if test.targets.ndim == 1:
            measured["by_step"] = None
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


class Bounds(NamedTuple):
    """Targets and the ends of their intervals."""

    target_RT: Floats
    low_RT: Floats
    high_RT: Floats

    @property
    def is_known_RT(self) -> NDArray[np.bool_]:
        """Where there is a target and an interval.

        A step with too few calibration rows has no interval, so it has no nominal coverage either.
        """
        return np.isfinite(self.target_RT) & np.isfinite(self.low_RT).any(axis=0)

    @property
    def is_covered_RT(self) -> NDArray[np.bool_]:
        """Where the interval contains the target."""
        return (self.low_RT <= self.target_RT) & (self.target_RT <= self.high_RT)


def read_bounds(predictions: pl.DataFrame, target: Floats, config: Target) -> Bounds:
    """Read the intervals of numbers, whose targets are [R], or of forecasts, [R, T]."""
    if target.ndim == 1:
        low_RT, high_RT = (read_numbers(predictions[name])[:, None] for name in (_LOW, _HIGH))
        return Bounds(target[:, None], low_RT, high_RT)
    low_RT, high_RT = (
        read_forecast_lists(predictions, name, config, target.shape[1]) for name in (_LOW, _HIGH)
    )
    return Bounds(target, low_RT, high_RT)


def _measure_intervals(
    bounds: Bounds, *, confidence: float, columns: ColumnScales | None
) -> dict[str, Any]:
    """Count the intervals that contain the target, over all steps and by step."""
    valid_RT, covered_RT = bounds.is_known_RT, bounds.is_covered_RT
    width_RT, count = np.nan_to_num(bounds.high_RT - bounds.low_RT), 1
    if columns:
        count = len(columns.names)
        width_RT = width_RT / np.tile(columns.std_RK, (1, width_RT.shape[1] // count))
    if not valid_RT.any():
        names = ("coverage", "coverage_low", "coverage_high", "size", "by_step")
        return {"rows": 0, **dict.fromkeys(names)}
    by_step = []
    for step in range(valid_RT.shape[1] // count):
        numbers = slice(step * count, (step + 1) * count)
        valid = valid_RT[:, numbers]
        if valid.any():
            covered, widths = covered_RT[:, numbers][valid], width_RT[:, numbers][valid]
            found: dict[str, Any] = dict(measure_coverage(covered, widths, confidence=confidence))
            by_step.append(StepCoverage(step=step + 1, **found))
    return {
        **measure_coverage(covered_RT[valid_RT], width_RT[valid_RT], confidence=confidence),
        "by_step": by_step,
    }
