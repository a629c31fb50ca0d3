"""The error of naive forecasts, by which errors are scaled."""

import numpy as np
import polars as pl

from models.features.config import Layout, WindowConfig
from models.features.series import SeriesInput, index_series
from tasks.prediction.naive_forecast import TargetHistory, compute_naive_error


def build_history(*series: np.ndarray) -> TargetHistory:
    """Return the history of some series, each with one sequence at its end."""
    names = np.repeat([f"s{index}" for index in range(len(series))], [len(s) for s in series])
    times = np.concatenate([np.arange(len(each)) for each in series])
    layout = Layout(
        input=SeriesInput(column="y"), window=WindowConfig(lookback=2), time="time", entity="name"
    )
    frame = pl.DataFrame({"name": names, "time": times})
    return TargetHistory(
        index_series(frame, layout),
        np.concatenate(series).astype(np.float64),
        np.cumsum([len(each) for each in series]) - 1,
    )


def alternate(level: float, step: float, count: int = 20) -> np.ndarray:
    return level + step * (np.arange(count) % 2)


def test_a_series_that_changes_as_usual_is_scaled_by_its_own_naive_error() -> None:
    errors = compute_naive_error(build_history(alternate(100, 10), alternate(200, 10)), season=1)
    np.testing.assert_allclose(errors, [10, 10])


def test_a_nearly_constant_series_is_scaled_by_a_tenth_of_the_usual_change_at_its_level() -> None:
    history = build_history(
        alternate(95, 10), alternate(950, 100), alternate(1000, 1e-9), np.full(20, 1000.0)
    )

    errors = compute_naive_error(history, season=1)

    np.testing.assert_allclose(errors[:2], [10, 100])
    np.testing.assert_allclose(errors[2:], 0.1 * 0.05 * 1000, rtol=1e-2)


def test_a_series_of_zeros_has_no_scale() -> None:
    errors = compute_naive_error(build_history(alternate(100, 10), np.zeros(20)), season=1)
    assert errors[1] == 0
