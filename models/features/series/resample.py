"""Resampling of a long table to a regular grid: one row per step, from first to last of a series.

The time of a step is its beginning; a step without rows has missing values. Observed and known
channels are aggregated as the settings say, and a target that is a number likewise; any other
column has the value of the last row of the step.
Shapes: G steps of the grid that have rows, P steps of the grid.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series.config import ROW_COLUMN, SeriesInput, get_series_input
from models.features.series.frequency import (
    GridStep,
    compute_bin_starts,
    compute_bins,
    parse_frequency,
)
from models.features.series.sorted_series import (
    check_sort_keys,
    compute_sort_order,
    encode_entities,
    is_sorted,
    list_sort_keys,
)
from models.features.steps import Integers

_BIN_COLUMN, _GROUP_COLUMN = "__bin__", "__group__"

_MAX_STEPS_PER_ROW = 1000
"""Most steps of the grid per row; with more, a time or the frequency must be wrong."""

_ALLOWED_STEPS = 10_000_000
"""Number of steps that is always allowed."""


def resample_series(
    frame: pl.DataFrame, layout: Layout, *, averaged: Sequence[str]
) -> pl.DataFrame:
    """Return one row for each step of the grid, by entity and time.

    Args:
        frame: a long table with `ROW_COLUMN`, the number of each row.
        layout: which columns make the series.
        averaged: the columns of a target that are aggregated if they have numbers; none for a
            target of which the last value of a step counts, such as a category.

    Returns:
        The columns of the table; `ROW_COLUMN` is the last row of each step, null where it has none.

    Raises:
        UnlearnableError: a time or an entity is missing, or the grid has far more steps than rows.
    """
    check_sort_keys(frame, layout)
    config, step = get_series_input(layout), _get_grid_step(layout)
    ordered = _sort_rows(frame, layout)
    table = _aggregate_bins(_add_bins(ordered, layout, step), layout, config, averaged=averaged)
    if not len(table):
        return table.select(frame.columns)
    return _fill_grid(table, layout, step).select(frame.columns)


def find_resampled_rows(frame: pl.DataFrame, table: pl.DataFrame, layout: Layout) -> pl.Series:
    """Return for each row the index of its step in the resampled table."""
    step = _get_grid_step(layout)
    keys = [*([layout.entity] if layout.entity else []), _BIN_COLUMN]
    rows = _add_bins(frame, layout, step).select(keys)
    steps = _add_bins(table, layout, step).select(keys).with_row_index("__place__")
    return rows.join(steps, on=keys, how="left", maintain_order="left")["__place__"]


def _sort_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return the rows sorted by entity, time and number of the row."""
    keys = list_sort_keys(layout)
    if is_sorted(frame, [*keys, ROW_COLUMN]):
        return frame
    numbered = frame if frame[ROW_COLUMN].is_sorted() else frame.sort(ROW_COLUMN)
    codes, series = encode_entities(numbered, layout)
    return numbered[compute_sort_order(numbered, layout, entities_N=codes, entity_count=series)]


def _get_grid_step(layout: Layout) -> GridStep:
    """Return the step of the grid."""
    return parse_frequency(get_series_input(layout).frequency or "1")


def _add_bins(frame: pl.DataFrame, layout: Layout, step: GridStep) -> pl.DataFrame:
    """Return the table with a column of the number of each row's step."""
    return frame.with_columns(
        compute_bins(frame[layout.time or ROW_COLUMN], step).alias(_BIN_COLUMN)
    )


def _aggregate_bins(
    ordered: pl.DataFrame, layout: Layout, config: SeriesInput, *, averaged: Sequence[str]
) -> pl.DataFrame:
    """Return one row for each step that has rows; its time is their last one."""
    keys = [*([layout.entity] if layout.entity else []), _BIN_COLUMN]
    is_new = pl.any_horizontal(pl.col(key) != pl.col(key).shift(1) for key in keys)
    grouped = ordered.with_columns(
        is_new.fill_null(value=False).cum_sum().alias(_GROUP_COLUMN).set_sorted()
    )
    numeric_targets = [name for name in averaged if ordered.schema[name].is_numeric()]
    aggregated = {*config.numbers, *numeric_targets} - set(config.categories)
    aggregated -= set(list_sort_keys(layout))
    return grouped.group_by(_GROUP_COLUMN, maintain_order=True).agg(
        _build_aggregation(name, config) if name in aggregated else pl.col(name).last()
        for name in ordered.columns
    )


def _build_aggregation(name: str, config: SeriesInput) -> pl.Expr:
    """Return the aggregate of the values of a step; null where all are missing."""
    value = pl.col(name).cast(pl.Float64).fill_nan(None)
    aggregates = {
        "mean": value.mean(),
        "sum": pl.when(value.count() > 0).then(value.sum()),
        "last": value.drop_nulls().last(),
        "minimum": value.min(),
        "maximum": value.max(),
    }
    return aggregates[config.aggregate].alias(name)


def _fill_grid(table: pl.DataFrame, layout: Layout, step: GridStep) -> pl.DataFrame:
    """Return the steps with the missing ones between them, as rows of nulls."""
    bins_G = table[_BIN_COLUMN].to_numpy()
    distance_G = np.diff(bins_G, prepend=bins_G[0] - 1)
    if layout.entity:
        entity = table[layout.entity]
        distance_G[1:][entity.ne_missing(entity.shift(1)).to_numpy()[1:]] = 1
    _check_grid_size(distance_G, table, layout)
    index_G = np.cumsum(distance_G) - 1
    row_P = np.full(int(index_G[-1]) + 1, -1, np.int64)
    row_P[index_G] = np.arange(len(index_G))
    last_row_P = np.maximum.accumulate(row_P)
    bins_P = bins_G[last_row_P] + np.arange(len(row_P)) - index_G[last_row_P]
    grid = table.select(pl.all().gather(pl.Series(row_P).replace(-1, None)))
    time = layout.time or ROW_COLUMN
    starts = compute_bin_starts(pl.Series(bins_P), step, table.schema[time]).alias(time)
    entities = [table[layout.entity].gather(last_row_P)] if layout.entity else []
    return grid.with_columns(starts, *entities)


def _check_grid_size(distance_G: Integers, table: pl.DataFrame, layout: Layout) -> None:
    """Check that the grid is not almost empty, before it fills the memory.

    Raises:
        UnlearnableError: it is; names the longest gap.
    """
    step_count = int(distance_G.sum())
    if step_count <= max(_ALLOWED_STEPS, _MAX_STEPS_PER_ROW * len(distance_G)):
        return
    longest = int(np.argmax(distance_G))
    times = table[layout.time or ROW_COLUMN]
    raise UnlearnableError(
        f"inputs: frequency: '{get_series_input(layout).frequency}' gives {step_count} steps for "
        f"{len(distance_G)} that have rows (longest gap: from {times[longest - 1]} to "
        f"{times[longest]}); "
        "give a longer step, or drop rows with wrong times upstream"
    )
