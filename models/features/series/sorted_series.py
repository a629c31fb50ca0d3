"""The rows of a long table, sorted by series and time.

Shapes: N rows of the table, and positions in sorted order.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.steps import Integers

_POSITION_COLUMN = "__place__"

_MAX_SORT_KEY = 2**62


class SortedSeries(NamedTuple):
    """The rows of a long table in sorted order, and where each series begins and ends."""

    order_N: Integers
    """Table row at each position: sorted by entity, then time."""
    first_N: Integers
    """Position at which the series of each position begins."""
    end_N: Integers
    """Position after the last one of its series."""


def list_sort_keys(layout: Layout) -> list[str]:
    """Return the columns that order the rows: the entity, then the time."""
    return [name for name in (layout.entity, layout.time) if name]


def index_series(frame: pl.DataFrame, layout: Layout) -> SortedSeries:
    """Return the order of a long table by entity and time, and the ends of each series.

    Raises:
        UnlearnableError: a time or an entity is missing, or a series has two rows at one time.
    """
    check_sort_keys(frame, layout)
    keys = list_sort_keys(layout)
    if is_sorted(frame.select(keys), keys):
        order = np.arange(len(frame), dtype=np.int64)
        is_first = _mark_series_starts(frame, layout)
    else:
        entities_N, entity_count = encode_entities(frame, layout)
        order = compute_sort_order(frame, layout, entities_N=entities_N, entity_count=entity_count)
        is_first = np.diff(entities_N[order], prepend=-1) != 0
    _check_repeated_times(frame, order, is_first, layout=layout)
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(order))[: len(starts)]
    return SortedSeries(order, np.repeat(starts, ends - starts), np.repeat(ends, ends - starts))


def check_sort_keys(frame: pl.DataFrame, layout: Layout) -> None:
    """Check that no row lacks its entity or time.

    Raises:
        UnlearnableError: some do; says how many.
    """
    for name in list_sort_keys(layout):
        column = frame[name]
        missing = column.null_count() + (column.is_nan().sum() if column.dtype.is_float() else 0)
        if missing:
            raise UnlearnableError(
                f"column '{name}' is missing in {missing} of {len(frame)} rows, so their position "
                "in the series is unknown; drop these rows upstream"
            )


def is_sorted(frame: pl.DataFrame, keys: list[str]) -> bool:
    """Return whether the rows are sorted by these keys; the order of equal keys is free."""
    is_ascending = pl.lit(value=True)
    for name in reversed(keys):
        before, current = pl.col(name).shift(1), pl.col(name)
        is_ascending = (current > before) | ((current == before) & is_ascending)
    return bool(frame.select(is_ascending.slice(1).all()).item())


def compute_sort_order(
    rows: pl.DataFrame, layout: Layout, *, entities_N: Integers, entity_count: int
) -> Integers:
    """Return the stable sort order by entity, then time.

    Sorting numbers is several times faster than sorting pairs, so entity and time become one
    number if it fits into 64 bits.

    Args:
        rows: the table.
        layout: names the columns of entity and time.
        entities_N: the number of each row's entity.
        entity_count: the number of entities.
    """
    times = _read_integer_times(rows, layout)
    if times is not None and len(times):
        min_time = int(times.min())
        time_range = int(times.max()) - min_time + 1
        if time_range * entity_count < _MAX_SORT_KEY:
            return np.argsort(entities_N * time_range + (times - min_time), kind="stable")
    keys = list_sort_keys(layout)
    order = (
        rows.select(keys)
        .with_row_index(_POSITION_COLUMN)
        .sort(keys, maintain_order=True)[_POSITION_COLUMN]
    )
    return order.to_numpy().astype(np.int64)


def encode_entities(rows: pl.DataFrame, layout: Layout) -> tuple[Integers, int]:
    """Return the number of the entity of each row, in their sorted order, and the count of them."""
    if layout.entity is None:
        return np.zeros(len(rows), np.int64), 1
    entities = rows.select(pl.col(layout.entity).unique().sort()).with_row_index(_POSITION_COLUMN)
    codes = rows.select(layout.entity).join(
        entities, on=layout.entity, how="left", maintain_order="left"
    )
    return codes[_POSITION_COLUMN].to_numpy().astype(np.int64), len(entities)


def find_rows_ahead(series: SortedSeries, steps: int) -> Integers:
    """Return for each row the one `steps` later in its series (earlier if negative), or -1."""
    ahead_N = find_positions_ahead(series, steps)
    rows = np.full(len(ahead_N), -1, np.int64)
    exists = ahead_N >= 0
    rows[series.order_N[exists]] = series.order_N[ahead_N[exists]]
    return rows


def find_positions_ahead(series: SortedSeries, steps: int) -> Integers:
    """Return for each position the one `steps` later in its series, or -1."""
    ahead_N = np.arange(len(series.order_N), dtype=np.int64) + steps
    exists = (ahead_N < series.end_N) & (ahead_N >= series.first_N)
    return np.where(exists, ahead_N, -1)


def _mark_series_starts(frame: pl.DataFrame, layout: Layout) -> NDArray[np.bool_]:
    """Return which rows of a sorted table are the first of their series."""
    is_first = np.zeros(len(frame), bool)
    if layout.entity:
        entities = frame[layout.entity]
        is_first[:] = entities.ne_missing(entities.shift(1)).to_numpy()
    is_first[:1] = True
    return is_first


def _read_integer_times(rows: pl.DataFrame, layout: Layout) -> Integers | None:
    """Return the times as int64, or None where they are no whole numbers of that range."""
    if layout.time is None:
        return np.arange(len(rows), dtype=np.int64)
    times = rows[layout.time]
    numbers = times.to_physical() if times.dtype.is_temporal() else times
    if not numbers.dtype.is_integer() or numbers.dtype in {pl.UInt64, pl.Int128, pl.UInt128}:
        return None
    return numbers.to_numpy().astype(np.int64)


def _check_repeated_times(
    frame: pl.DataFrame, order: Integers, is_first_N: NDArray[np.bool_], *, layout: Layout
) -> None:
    """Check that no series has two rows at one time.

    Raises:
        UnlearnableError: names the first such time.
    """
    if layout.time is None:
        return
    times = frame[layout.time].gather(order)
    repeated = np.flatnonzero(
        (times == times.shift(1)).fill_null(value=False).to_numpy() & ~is_first_N
    )
    if not len(repeated):
        return
    row = frame.row(int(order[repeated[0]]), named=True)
    where = f"'{row[layout.entity]}'" if layout.entity else "the table"
    hint = "" if layout.entity else ", or name the column that identifies the series: source.entity"
    raise UnlearnableError(
        f"{where} has two rows at {layout.time} {row[layout.time]}; "
        "a series has one row for each time; "
        f"remove the repetition upstream{hint}"
    )
