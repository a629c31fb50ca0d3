"""The errors of each of several columns that are forecast together.

Shapes: R test rows, T numbers of a forecast, K columns.
"""

import polars as pl

from models.evaluation.metrics.forecast import compute_column_errors
from models.evaluation.predictions import ForecastPredictions, Predictions
from models.features.target import Target
from tasks.dataset.labels import TestRows
from tasks.evaluation.calibration import read_bounds
from tasks.report_record import ColumnErrors


def score_columns(
    predictions: Predictions, table: pl.DataFrame, test: TestRows, target: Target
) -> list[ColumnErrors] | None:
    """Score each column; None unless there are several.

    Args:
        predictions: of the test rows, with their targets.
        table: of the same predictions, as the model returns them, with their intervals.
        test: the test rows.
        target: of the model.
    """
    if not isinstance(predictions, ForecastPredictions) or not target.parts:
        return None
    coverage = _measure_coverage(table, test, target)
    errors = compute_column_errors(predictions)
    return [ColumnErrors(**each, coverage=coverage.get(str(each["column"]))) for each in errors]


def _measure_coverage(table: pl.DataFrame, test: TestRows, target: Target) -> dict[str, float]:
    """Measure how many intervals of each column contain the target; empty without intervals."""
    if target.list_output_names("interval_low")[0] not in table.columns:
        return {}
    bounds, count = read_bounds(table, test.targets, target), len(target.parts)
    known_RT, covered_RT = bounds.is_known_RT, bounds.is_covered_RT
    return {
        name: float(covered_RT[:, index::count][known_RT[:, index::count]].mean())
        for index, name in enumerate(target.columns)
        if known_RT[:, index::count].any()
    }
