"""ETS and Theta: every test row is forecast from its own past, and nothing else."""

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.evaluation.baselines import exponential_smoothing
from models.evaluation.baselines.exponential_smoothing import (
    SeriesForecasts,
    describe_excess,
    forecast_by_smoothing,
)
from models.features.config import Layout, WindowConfig
from models.features.series import SeriesInput, index_series
from tasks.evaluation.exponential_smoothing import list_series
from tasks.prediction.naive_forecast import TargetHistory


class LastOfMany:
    """Forecasts the last value plus the number of values that it was fitted to."""

    def __init__(self, season_length: int) -> None:
        self.season_length = season_length

    def fit(self, y: np.ndarray) -> None:
        self.fitted = len(y)

    def forward(self, y: np.ndarray, h: int) -> dict[str, Any]:
        return {"mean": np.full(h, y[-1] + self.fitted)}


@pytest.fixture
def fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("statsforecast.models")
    module.AutoETS = module.AutoTheta = LastOfMany  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "statsforecast.models", module)
    monkeypatch.setitem(sys.modules, "statsforecast", ModuleType("statsforecast"))


@pytest.mark.usefixtures("fake_models")
def test_later_forecasts_read_the_values_since_and_keep_the_fit_of_the_first() -> None:
    series = SeriesForecasts(np.arange(60.0), np.array([39, 45]))

    found = forecast_by_smoothing([series], horizon=2, season=1)

    assert found["ETS"][0].tolist() == [[79.0, 79.0], [85.0, 85.0]]
    assert found["Theta"][0].shape == (2, 2)


@pytest.mark.usefixtures("fake_models")
def test_a_series_that_is_too_short_is_forecast_by_its_last_value() -> None:
    series = SeriesForecasts(np.arange(30.0), np.array([19]))

    found = forecast_by_smoothing([series], horizon=1, season=12)

    assert found["ETS"][0].tolist() == [[19.0]]


def test_more_windows_than_the_bound_are_named() -> None:
    assert describe_excess(10, exponential_smoothing.MAX_FORECASTS) is None
    assert "9999 test windows" in str(describe_excess(10, 9999))


def test_forecasts_are_listed_by_series_and_find_back_to_their_rows() -> None:
    layout = Layout(
        input=SeriesInput(column="y"), window=WindowConfig(lookback=2), time="t", entity="e"
    )
    frame = pl.DataFrame({"e": ["b", "a"] * 4, "t": np.repeat(np.arange(4), 2)})
    values = np.array([0.0, 10, 1, np.nan, 2, 12, 3, 13])
    history = TargetHistory(index_series(frame, layout), values, np.array([6, 3, 4]))

    series, rows = list_series(history)

    assert [each.values_V.tolist() for each in series] == [[10, 10, 12, 13], [0, 1, 2, 3]]
    assert [each.ends_R.tolist() for each in series] == [[1], [2, 3]]
    assert rows.tolist() == [1, 2, 0]


@pytest.mark.skipif(
    exponential_smoothing.find_version() is None, reason="the extra 'ets' is not installed"
)
def test_the_real_models_follow_a_trend_with_a_season() -> None:
    importlib.import_module("statsforecast")
    steps = np.arange(96)
    values = 100 + 2.0 * steps + 20 * np.sin(steps * 2 * np.pi / 12)
    series = SeriesForecasts(values, np.array([71, 83]))

    found = forecast_by_smoothing([series], horizon=12, season=12)

    np.testing.assert_allclose(found["ETS"][0].flatten(), values[72:], rtol=0.1)
    error = np.abs(found["Theta"][0].flatten() - values[72:]).mean()
    naive = np.abs(np.repeat(values[[71, 83]], 12) - values[72:]).mean()
    assert error < naive
