"""Forecasts as a table with one row for each step, and the time of each step where it is known.

Shapes: R windows.
"""

import numpy as np
import polars as pl

from models.features.config import Layout
from models.features.series import get_series_input, index_series, is_resampled
from models.features.series.frequency import compute_bin_starts, compute_bins, parse_frequency
from tasks.dataset.series_positions import RowNumbers
from tasks.prediction.predict import FORECAST_COLUMNS

STEP, FORECAST_TIME = FORECAST_COLUMNS

TIME_STEP = "__time_step__"
"""Column with the time between two steps of a series."""


def infer_time_steps(frame: pl.DataFrame, layout: Layout, ends_R: RowNumbers) -> pl.Series:
    """Infer the time between the steps of each window's series from its last three rows, [R].

    Null where there are fewer rows or the two differences are not equal.
    """
    times = frame[layout.time or ""]
    first_R = index_series(frame, layout).first_N[ends_R]
    now, before, earlier = (
        times.gather(np.maximum(ends_R - back, 0)).rename(str(back)) for back in range(3)
    )
    table = pl.DataFrame([now, before, earlier]).with_columns(
        known=pl.Series(ends_R - first_R >= 2)
    )
    step, previous = pl.col("0") - pl.col("1"), pl.col("1") - pl.col("2")
    return table.select(
        pl.when(pl.col("known") & (step == previous)).then(step).alias(TIME_STEP)
    ).to_series()


def explode_steps(table: pl.DataFrame, layout: Layout, time: str, lists: list[str]) -> pl.DataFrame:
    """Give every step of a forecast a row of its own; a row without a forecast stays one row.

    Args:
        table: of predictions, with column `TIME_STEP` where the series is not resampled.
        layout: how rows form series.
        time: the column with the time of the window's end.
        lists: the columns that have a value for each step, a prediction first.
    """
    assert layout.window is not None  # noqa: S101 - forecasts come from windows
    first = lists[0]
    steps = pl.int_ranges(1, pl.col(first).list.len() + 1, dtype=pl.Int64)
    has_forecast = pl.col(first).is_not_null()
    numbered = table.with_columns(
        pl.when(has_forecast).then(steps).alias(STEP),
        *(pl.when(has_forecast).then(pl.col(name)).alias(name) for name in lists),
    )
    rows = numbered.explode([STEP, *lists])
    order = [name for name in rows.columns if name not in {STEP, FORECAST_TIME, TIME_STEP}]
    index = order.index(first)
    columns = [*order[:index], STEP, FORECAST_TIME, *order[index:]]
    return rows.with_columns(_compute_step_times(rows, layout, time)).select(columns)


def _compute_step_times(rows: pl.DataFrame, layout: Layout, time: str) -> pl.Series:
    """Compute the time of each step: by the bins, or by the time step before the forecast."""
    if not is_resampled(layout):
        return rows.select(
            (pl.col(time) + pl.col(TIME_STEP) * pl.col(STEP)).alias(FORECAST_TIME)
        ).to_series()
    frequency = parse_frequency(get_series_input(layout).frequency or "1")
    known = rows.filter(pl.col(STEP).is_not_null())
    starts = compute_bin_starts(
        compute_bins(known[time], frequency) + known[STEP], frequency, rows.schema[time]
    )
    indices = pl.Series(np.cumsum(rows[STEP].is_not_null().to_numpy()) - 1)
    return starts.gather(
        pl.select(pl.when(rows[STEP].is_not_null()).then(indices)).to_series()
    ).alias(FORECAST_TIME)
