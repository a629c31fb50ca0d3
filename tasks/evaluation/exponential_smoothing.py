"""ETS and Theta as baselines of a forecast's test rows.

Shapes: R test rows, T steps ahead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from models.evaluation.baselines.exponential_smoothing import (
    SeriesForecasts,
    describe_excess,
    find_version,
    forecast_by_smoothing,
)
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.predictions import Floats, ForecastScale, ForecastSteps, Predictions
from models.features.featurizer import Featurizer
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import TargetHistory, load_target_history


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothingForecasts:
    """The forecasts of each model, or why there are none."""

    forecasts: Mapping[str, Floats] = field(default_factory=dict)
    """[R, T], by the model's name."""
    warnings: tuple[str, ...] = ()

    def pair(self, test: TestRows, scale: ForecastScale) -> dict[str, Predictions]:
        """Pair the forecasts with their targets.

        Args:
            test: the test rows.
            scale: see `compute_naive_scale`.
        """
        return {
            name: summarize_forecasts(ForecastSteps(test.targets, forecast_RT, (), ()), scale)
            for name, forecast_RT in self.forecasts.items()
        }


def forecast_test_rows(
    rows: RowSet, table: pl.DataFrame, featurizer: Featurizer, *, season: int
) -> SmoothingForecasts:
    """Forecast the test rows by ETS and Theta; nothing where that is not installed.

    Args:
        rows: the table.
        table: of the test sequences.
        featurizer: with layout and target.
        season: steps of a season; 1 for none.
    """
    window, found = featurizer.layout.window, find_version()
    several = len(featurizer.target.columns) > 1
    if featurizer.target.kind != "forecast" or several or window is None or found is None:
        return SmoothingForecasts()
    history = load_target_history(rows, table, featurizer)
    series, row_R = list_series(history)
    if excess := describe_excess(len(series), len(row_R)):
        return SmoothingForecasts(warnings=(excess,))
    try:
        by_model = forecast_by_smoothing(series, horizon=window.horizon, season=season)
    except ImportError as error:
        reason = f"no ETS and Theta baselines: statsforecast {found} cannot be imported: {error}"
        return SmoothingForecasts(
            warnings=(f"{reason}; install the extra 'ets' of ostinato, or remove statsforecast",)
        )
    # From the order of the series to that of the test rows.
    back_R = np.argsort(row_R)
    return SmoothingForecasts(
        forecasts={name: np.concatenate(parts)[back_R] for name, parts in by_model.items()}
    )


def list_series(
    history: TargetHistory,
) -> tuple[list[SeriesForecasts], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """List the series that are forecast, and the test row of each of their forecasts in order."""
    order_N, first_N, end_N = history.series
    position_N = np.empty(len(order_N), np.int64)
    position_N[order_N] = np.arange(len(order_N))
    ends_R = position_N[history.ends_R]
    row_R = np.argsort(ends_R, kind="stable")
    first_R = first_N[ends_R[row_R]]
    series = []
    for part in np.split(np.arange(len(row_R)), np.flatnonzero(np.diff(first_R)) + 1):
        first = int(first_R[part[0]])
        values_V = history.targets_N[order_N[first : end_N[first]]]
        series.append(SeriesForecasts(_fill_gaps(values_V), ends_R[row_R[part]] - first))
    return series, row_R


def _fill_gaps(values_V: Floats) -> Floats:
    """Fill each gap with the value before it, so that no forecast reads what comes after."""
    known_V = np.isfinite(values_V)
    last_V = np.maximum.accumulate(np.where(known_V, np.arange(len(values_V)), 0))
    return np.nan_to_num(values_V[last_V])
