"""A long table brought to a regular grid: one row a step, from the first to the last of a series.

A step is named by the time at which it begins; one without rows holds gaps. What is observed or
known is brought together as the job says, and so is a target that is a number; anything else is
what the last row of the step says.
Shapes: G steps of the grid that have rows, P places on the grid.
"""

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series.config import ROW, SeriesInput, get_series_input
from models.features.series.line import (
    entity_codes,
    is_sorted,
    list_sort_keys,
    refuse_missing_keys,
    sorted_places,
)
from models.features.series.width import GridStep, bin_of, parse_frequency, start_of
from models.features.steps import Integers

BIN, GROUP = "__bin__", "__group__"

MOST_BINS = 1000
"""Steps of the grid to a row, beyond which a time or the width must be a mistake."""

FEW_BINS = 10_000_000
"""Steps of the grid that are never too many."""


def resample(frame: pl.DataFrame, layout: Layout, *, target: str | None) -> pl.DataFrame:
    """Bring rows to the grid, by entity and time.

    Args:
        frame: a long table with `ROW`, the number of each row.
        layout: how it makes series.
        target: the column of an answer that is brought together where it holds numbers; None
            where the last answer of a step stands, as for categories.

    Returns:
        The columns of the table; `ROW` is the last row of each step, null where it has none.

    Raises:
        UnlearnableError: a time or an entity is missing, or the grid is far finer than the rows.
    """
    refuse_missing_keys(frame, layout)
    read, width = get_series_input(layout), get_grid_step(layout)
    ordered = in_order(frame, layout)
    table = brought_together(with_bins(ordered, layout, width), layout, read, target=target)
    if not len(table):
        return table.select(frame.columns)
    return on_grid(table, layout, width).select(frame.columns)


def in_order(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Sort by entity, time and number of the row."""
    keys = list_sort_keys(layout)
    if is_sorted(frame, [*keys, ROW]):
        return frame
    numbered = frame if frame[ROW].is_sorted() else frame.sort(ROW)
    codes, series = entity_codes(numbered, layout)
    return numbered[sorted_places(numbered, layout, codes=codes, series=series)]


def get_grid_step(layout: Layout) -> GridStep:
    """Read the width of the grid."""
    return parse_frequency(get_series_input(layout).frequency or "1")


def with_bins(frame: pl.DataFrame, layout: Layout, width: GridStep) -> pl.DataFrame:
    """Tell of each row the number of the step that it lies in."""
    return frame.with_columns(bin_of(frame[layout.time or ROW], width).alias(BIN))


def brought_together(
    ordered: pl.DataFrame, layout: Layout, read: SeriesInput, *, target: str | None
) -> pl.DataFrame:
    """Make one row of the rows of each step; the time is their last."""
    keys = [*([layout.entity] if layout.entity else []), BIN]
    news = pl.any_horizontal(pl.col(key) != pl.col(key).shift(1) for key in keys)
    grouped = ordered.with_columns(news.fill_null(value=False).cum_sum().alias(GROUP).set_sorted())
    numeric = [target] if target and ordered.schema[target].is_numeric() else []
    together = {*read.columns, *numeric} - set(list_sort_keys(layout))
    return grouped.group_by(GROUP, maintain_order=True).agg(
        joined(name, read) if name in together else pl.col(name).last() for name in ordered.columns
    )


def joined(name: str, read: SeriesInput) -> pl.Expr:
    """Make one value of those of a step; none where all are missing."""
    value = pl.col(name).cast(pl.Float64).fill_nan(None)
    several = {
        "mean": value.mean(),
        "sum": pl.when(value.count() > 0).then(value.sum()),
        "last": value.drop_nulls().last(),
        "minimum": value.min(),
        "maximum": value.max(),
    }
    return several[read.aggregate].alias(name)


def on_grid(table: pl.DataFrame, layout: Layout, width: GridStep) -> pl.DataFrame:
    """Put the steps in their places, and rows of gaps between them."""
    bins_G = table[BIN].to_numpy()
    apart_G = np.diff(bins_G, prepend=bins_G[0] - 1)
    if layout.entity:
        entity = table[layout.entity]
        apart_G[1:][entity.ne_missing(entity.shift(1)).to_numpy()[1:]] = 1
    refuse_fine_grid(apart_G, table, layout)
    places_G = np.cumsum(apart_G) - 1
    held_P = np.full(int(places_G[-1]) + 1, -1, np.int64)
    held_P[places_G] = np.arange(len(places_G))
    before_P = np.maximum.accumulate(held_P)
    bins_P = bins_G[before_P] + np.arange(len(held_P)) - places_G[before_P]
    grid = table.select(pl.all().gather(pl.Series(held_P).replace(-1, None)))
    time = layout.time or ROW
    starts = start_of(pl.Series(bins_P), width, table.schema[time]).alias(time)
    owners = [table[layout.entity].gather(before_P)] if layout.entity else []
    return grid.with_columns(starts, *owners)


def refuse_fine_grid(apart_G: Integers, table: pl.DataFrame, layout: Layout) -> None:
    """Refuse a grid with hardly anything on it, before it fills the memory."""
    places = int(apart_G.sum())
    if places <= max(FEW_BINS, MOST_BINS * len(apart_G)):
        return
    last = int(np.argmax(apart_G))
    times = table[layout.time or ROW]
    raise UnlearnableError(
        f"inputs: frequency: '{get_series_input(layout).frequency}' gives {places} steps for "
        f"{len(apart_G)} that "
        f"have rows (the longest gap: from {times[last - 1]} to {times[last]}); "
        "give a wider step, or drop rows with wrong times upstream"
    )


def bins_of_rows(frame: pl.DataFrame, table: pl.DataFrame, layout: Layout) -> pl.Series:
    """Find the place of each row's step in the resampled table."""
    width = get_grid_step(layout)
    keys = [*([layout.entity] if layout.entity else []), BIN]
    rows = with_bins(frame, layout, width).select(keys)
    places = with_bins(table, layout, width).select(keys).with_row_index("__place__")
    return rows.join(places, on=keys, how="left", maintain_order="left")["__place__"]
