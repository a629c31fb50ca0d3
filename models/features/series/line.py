"""The rows of a long table in the order of their series.

Shapes: N rows of the table, and places in the line.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.steps import Integers

PLACE = "__place__"

LARGEST_KEY = 2**62


class SortedSeries(NamedTuple):
    """The rows of a long table in the order of their series."""

    order_N: Integers
    """Table row at each place in the line: sorted by entity, then time."""
    first_N: Integers
    """Place where the series of each place begins."""
    end_N: Integers
    """Place after the last of its series."""


def list_sort_keys(layout: Layout) -> list[str]:
    """Name the columns that order the rows: the entity, then the time."""
    return [name for name in (layout.entity, layout.time) if name]


def index_series(frame: pl.DataFrame, layout: Layout) -> SortedSeries:
    """Sort a long table by entity and time, and find where each series begins and ends.

    Raises:
        UnlearnableError: a time or an entity is missing, or a series has two rows at one time.
    """
    refuse_missing_keys(frame, layout)
    keys = list_sort_keys(layout)
    if is_sorted(frame.select(keys), keys):
        order = np.arange(len(frame), dtype=np.int64)
        begins = begins_of(frame, layout)
    else:
        codes, series = entity_codes(frame, layout)
        order = sorted_places(frame, layout, codes=codes, series=series)
        begins = np.diff(codes[order], prepend=-1) != 0
    refuse_twins(frame, order, begins, layout=layout)
    places = np.flatnonzero(begins)
    ends = np.append(places[1:], len(order))[: len(places)]
    return SortedSeries(order, np.repeat(places, ends - places), np.repeat(ends, ends - places))


def begins_of(frame: pl.DataFrame, layout: Layout) -> NDArray[np.bool_]:
    """Mark where each series begins in a table that is lined up."""
    begins = np.zeros(len(frame), bool)
    if layout.entity:
        owners = frame[layout.entity]
        begins[:] = owners.ne_missing(owners.shift(1)).to_numpy()
    begins[:1] = True
    return begins


def refuse_missing_keys(frame: pl.DataFrame, layout: Layout) -> None:
    """Refuse rows whose place is unknown.

    Raises:
        UnlearnableError: says how many.
    """
    for name in list_sort_keys(layout):
        column = frame[name]
        missing = column.null_count() + (column.is_nan().sum() if column.dtype.is_float() else 0)
        if missing:
            raise UnlearnableError(
                f"column '{name}' is missing in {missing} of {len(frame)} rows, so their place "
                "in the series is unknown; drop these rows upstream"
            )


def is_sorted(frame: pl.DataFrame, keys: list[str]) -> bool:
    """Return whether the rows come by these keys already; rows of equal keys may stand in any."""
    rising = pl.lit(value=True)
    for name in reversed(keys):
        before, here = pl.col(name).shift(1), pl.col(name)
        rising = (here > before) | ((here == before) & rising)
    return bool(frame.select(rising.slice(1).all()).item())


def sorted_places(rows: pl.DataFrame, layout: Layout, *, codes: Integers, series: int) -> Integers:
    """Sort by entity, then time; equals, and rows without a time, stay as they come.

    Numbers are sorted several times faster than pairs, so both become one number where they can.

    Args:
        rows: with the columns of both.
        layout: which they are.
        codes: the number of each row's entity.
        series: how many there are.
    """
    times = whole_times(rows, layout)
    if times is not None and len(times):
        first = int(times.min())
        span = int(times.max()) - first + 1
        if span * series < LARGEST_KEY:
            return np.argsort(codes * span + (times - first), kind="stable")
    keys = list_sort_keys(layout)
    order = rows.select(keys).with_row_index(PLACE).sort(keys, maintain_order=True)[PLACE]
    return order.to_numpy().astype(np.int64)


def entity_codes(rows: pl.DataFrame, layout: Layout) -> tuple[Integers, int]:
    """Return each row the number of its entity, in their order; and count them."""
    if layout.entity is None:
        return np.zeros(len(rows), np.int64), 1
    names = rows.select(pl.col(layout.entity).unique().sort()).with_row_index(PLACE)
    found = rows.select(layout.entity).join(
        names, on=layout.entity, how="left", maintain_order="left"
    )
    return found[PLACE].to_numpy().astype(np.int64), len(names)


def whole_times(rows: pl.DataFrame, layout: Layout) -> Integers | None:
    """Read times as whole numbers; None where they are none."""
    if layout.time is None:
        return np.arange(len(rows), dtype=np.int64)
    times = rows[layout.time]
    numbers = times.to_physical() if times.dtype.is_temporal() else times
    if not numbers.dtype.is_integer() or numbers.dtype in {pl.UInt64, pl.Int128, pl.UInt128}:
        return None
    return numbers.to_numpy().astype(np.int64)


def refuse_twins(
    frame: pl.DataFrame, order: Integers, begins: NDArray[np.bool_], *, layout: Layout
) -> None:
    """Refuse two rows of one series at one time."""
    if layout.time is None:
        return
    times = frame[layout.time].gather(order)
    twins = np.flatnonzero((times == times.shift(1)).fill_null(value=False).to_numpy() & ~begins)
    if not len(twins):
        return
    twin = frame.row(int(order[twins[0]]), named=True)
    where = f"'{twin[layout.entity]}'" if layout.entity else "the table"
    mend = (
        "" if layout.entity else ", or name the column that tells the series apart: source.entity"
    )
    raise UnlearnableError(
        f"{where} has two rows at {layout.time} {twin[layout.time]}; a series has one row a time; "
        f"remove the repetition upstream{mend}"
    )


def find_rows_ahead(line: SortedSeries, steps: int) -> Integers:
    """Find for each table row the row `steps` later in its series (earlier if negative), or -1."""
    ahead = find_positions_ahead(line, steps)
    rows = np.full(len(ahead), -1, np.int64)
    inside = ahead >= 0
    rows[line.order_N[inside]] = line.order_N[ahead[inside]]
    return rows


def find_positions_ahead(line: SortedSeries, steps: int) -> Integers:
    """Find for each place the place `steps` later in its series, or -1."""
    ahead = np.arange(len(line.order_N), dtype=np.int64) + steps
    inside = (ahead < line.end_N) & (ahead >= line.first_N)
    return np.where(inside, ahead, -1)
