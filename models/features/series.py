"""Time series: a long table with one row a step, or a table with one list a row.

Shapes: N steps, C channels (one a column), R rows of the table.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features import Layout, WindowConfig
from models.features.steps import Floats, Integers, Steps


class Line(NamedTuple):
    """The rows of a long table in the order of their series."""

    order_N: Integers
    """Table row at each place in the line: sorted by entity, then time."""
    first_N: Integers
    """Place where the series of each place begins."""
    end_N: Integers
    """Place after the last of its series."""


def list_steps(frame: pl.DataFrame, columns: tuple[str, ...]) -> Steps:
    """Read each row's lists side by side as channels; lists that do not fit are an error."""
    lists = frame.select(as_list(frame[name]) for name in columns)
    lengths_RC = lists.select(pl.all().list.len().fill_null(0)).to_numpy().astype(np.int64)
    fits_R = (lengths_RC == lengths_RC[:, :1]).all(axis=1) & (lengths_RC[:, 0] > 0)
    lengths_R = np.where(fits_R, lengths_RC[:, 0], 0)
    fitting = lists.filter(fits_R)
    stops_R = np.cumsum(lengths_R)
    errors_R: list[str | None] = [None] * len(frame)
    for row in np.flatnonzero(~fits_R):
        errors_R[row] = misfit(lengths_RC[row], columns)
    values = [fitting[name].explode(empty_as_null=False, keep_nulls=False) for name in columns]
    flat = [to_floats(column) for column in values]
    return Steps(np.stack(flat, axis=1), stops_R - lengths_R, stops_R, errors_R)


def as_list(column: pl.Series) -> pl.Series:
    """See arrays of a fixed length, and a column of nothing but gaps, as lists."""
    if column.dtype == pl.Null:
        return column.cast(pl.List(pl.Float32))
    return column.arr.to_list() if isinstance(column.dtype, pl.Array) else column


def to_floats(column: pl.Series) -> Floats:
    """Read numbers as float32, NaN where one is missing."""
    return np.array(column.cast(pl.Float32).fill_null(float("nan")).to_numpy(), np.float32)


def misfit(lengths_C: Integers, columns: tuple[str, ...]) -> str:
    """Say why one row's lists cannot be read."""
    for name, length in zip(columns, lengths_C, strict=True):
        if length == 0:
            return f"column '{name}' is empty"
    return f"the channels differ in length: {sorted({int(length) for length in lengths_C})}"


def line_up(frame: pl.DataFrame, layout: Layout) -> Line:
    """Sort a long table by entity and time, and find where each series begins and ends.

    Raises:
        UnlearnableError: a time or an entity is missing, or a series has two rows at one time.
    """
    keys = [name for name in (layout.entity, layout.time) if name]
    for name in keys:
        if missing := frame[name].null_count():
            raise UnlearnableError(
                f"column '{name}' is missing in {missing} of {len(frame)} rows, so their place "
                "in the series is unknown; drop these rows upstream"
            )
    sorted_rows = frame.select(keys).with_row_index("row").sort(keys, maintain_order=True)
    refuse_twins(sorted_rows, layout)
    order = sorted_rows["row"].to_numpy().astype(np.int64)
    if layout.entity is None:
        return Line(order, np.zeros_like(order), np.full_like(order, len(order)))
    runs = sorted_rows[layout.entity].rle().struct.field("len").to_numpy().astype(np.int64)
    ends = np.cumsum(runs)
    return Line(order, np.repeat(ends - runs, runs), np.repeat(ends, runs))


def refuse_twins(sorted_rows: pl.DataFrame, layout: Layout) -> None:
    """Refuse two rows of one series at one time."""
    keys = [name for name in (layout.entity, layout.time) if name]
    if layout.time is None or not sorted_rows.select(keys).is_duplicated().any():
        return
    twin = sorted_rows.filter(sorted_rows.select(keys).is_duplicated()).row(0, named=True)
    where = f"'{twin[layout.entity]}'" if layout.entity else "the table"
    mend = (
        "" if layout.entity else ", or name the column that tells the series apart: source.entity"
    )
    raise UnlearnableError(
        f"{where} has two rows at {layout.time} {twin[layout.time]}; a series has one row a time; "
        f"remove the repetition upstream{mend}"
    )


def window_steps(frame: pl.DataFrame, layout: Layout, window: WindowConfig) -> Steps:
    """Let a window end at every row of a long table; rows with too short a past have an error."""
    line = line_up(frame, layout)
    values = frame.select(pl.col(layout.input.columns).cast(pl.Float32)).fill_null(float("nan"))
    places = np.arange(len(frame), dtype=np.int64)
    starts = places + 1 - window.length
    history = places + 1 - line.first_N
    too_short = starts < line.first_N
    starts_R, stops_R = np.zeros_like(places), np.zeros_like(places)
    starts_R[line.order_N] = np.where(too_short, 0, starts)
    stops_R[line.order_N] = np.where(too_short, 0, places + 1)
    errors_R: list[str | None] = [None] * len(frame)
    for place in np.flatnonzero(too_short):
        errors_R[line.order_N[place]] = (
            f"the window needs {window.length} steps, this row has {history[place]}"
        )
    ordered = np.ascontiguousarray(values.to_numpy()[line.order_N], np.float32)
    return Steps(ordered, starts_R, stops_R, errors_R)


def row_ahead(line: Line, steps: int) -> Integers:
    """Find for each table row the row `steps` later in its series (earlier if negative), or -1."""
    places = np.arange(len(line.order_N), dtype=np.int64)
    ahead = places + steps
    inside = (ahead < line.end_N) & (ahead >= line.first_N)
    rows = np.full(len(places), -1, np.int64)
    rows[line.order_N[inside]] = line.order_N[ahead[inside]]
    return rows
