"""Forecasts as a table with one row a step ahead, and the time of each step where it is known.

Shapes: R rows that are asked about.
"""

import numpy as np
import polars as pl

from models.features.config import Layout
from models.features.series import line_up, read_of, resampled
from models.features.series.width import bin_of, parse_width, start_of
from tasks.dataset.series_positions import Places
from tasks.prediction.predict import FORECASTS

STEP, AT = FORECASTS

GAP = "__gap__"


def gaps_of(frame: pl.DataFrame, layout: Layout, chosen_R: Places) -> pl.Series:
    """Tell how far apart the steps of these series are; null where the last two gaps differ."""
    times = frame[layout.time or ""]
    first_R = line_up(frame, layout).first_N[chosen_R]
    now, before, earlier = (
        times.gather(np.maximum(chosen_R - back, 0)).rename(str(back)) for back in range(3)
    )
    table = pl.DataFrame([now, before, earlier]).with_columns(
        known=pl.Series(chosen_R - first_R >= 2)
    )
    gap, last = pl.col("0") - pl.col("1"), pl.col("1") - pl.col("2")
    return table.select(pl.when(pl.col("known") & (gap == last)).then(gap).alias(GAP)).to_series()


def by_step(table: pl.DataFrame, layout: Layout, time: str, lists: list[str]) -> pl.DataFrame:
    """Give every step of a forecast a row of its own; a row without one stays as it is.

    Args:
        table: answers to rows, with `GAP` where the series has no grid.
        layout: how the series was read.
        time: the column with the time of the window's end.
        lists: the columns that hold a value for each step.
    """
    assert layout.window is not None  # noqa: S101 - forecasts come from windows
    steps = pl.int_ranges(1, pl.col("prediction").list.len() + 1, dtype=pl.Int64)
    answered = pl.col("prediction").is_not_null()
    told = table.with_columns(
        pl.when(answered).then(steps).alias(STEP),
        *(pl.when(answered).then(pl.col(name)).alias(name) for name in lists),
    )
    rows = told.explode([STEP, *lists])
    order = [name for name in rows.columns if name not in {STEP, AT, GAP}]
    place = order.index("prediction")
    columns = [*order[:place], STEP, AT, *order[place:]]
    return rows.with_columns(times_of(rows, layout, time)).select(columns)


def times_of(rows: pl.DataFrame, layout: Layout, time: str) -> pl.Series:
    """Tell the time of each step: by the grid, or as far apart as the steps before."""
    if not resampled(layout):
        return rows.select((pl.col(time) + pl.col(GAP) * pl.col(STEP)).alias(AT)).to_series()
    width = parse_width(read_of(layout).frequency or "1")
    known = rows.filter(pl.col(STEP).is_not_null())
    starts = start_of(bin_of(known[time], width) + known[STEP], width, rows.schema[time])
    places = pl.Series(np.cumsum(rows[STEP].is_not_null().to_numpy()) - 1)
    return starts.gather(
        pl.select(pl.when(rows[STEP].is_not_null()).then(places)).to_series()
    ).alias(AT)
