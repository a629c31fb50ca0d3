"""The rows of a long table in the order of their series, but for those that have no place in it.

A row without its time or entity, or whose place another row of its series has, is named with that
reason; nothing that it holds reaches the others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from models.features.config import Layout
from models.features.series import ROW as NUMBER
from models.features.series import resampled
from tasks.dataset.external_sort import to_batches
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_order import line_keys, lined_up, open_file, write_batches

Places = NDArray[np.int64]

ROW = "row"

MISSING = "column '{}' is missing, so its place in the series is unknown"
TWIN = "another row of its series has the same time"


class Placed(NamedTuple):
    """A lined up table, and the rows that have no place in it."""

    line: RowSet
    gaps: Places
    """Numbers of the rows that were taken out before the others were numbered."""
    aside: pl.DataFrame
    """Those without a place: `row`, and why as `status`."""

    def numbers(self, counted: Places) -> Places:
        """Give rows that were numbered without the gaps their number in the source."""
        before = self.gaps - np.arange(len(self.gaps))
        return counted + np.searchsorted(before, counted, side="right")


def place(
    rows: RowSet, layout: Layout, columns: list[str], *, averaged: str | None, folder: Path
) -> Placed:
    """Line the rows up, without those that have no place in their series.

    Args:
        rows: all of them.
        layout: how they make series.
        columns: those that are needed.
        averaged: the answer's column, where it is a number.
        folder: for temporary files, which stay as long as the rows are read.
    """
    keys = line_keys(layout)
    reasons = pl.coalesce(
        pl.when(pl.col(name).is_null() | is_nan(rows, name)).then(pl.lit(MISSING.format(name)))
        for name in keys
    )
    gaps = told_aside(rows, reasons)
    held = RowSet(rows.paths, rows.schema, rows.cut, numbers_of(gaps))
    line = lined_up(held, layout, columns=columns, target=averaged, folder=folder)
    if resampled(layout):
        return Placed(line, gaps[ROW].to_numpy(), gaps)
    twins_R = twins(line, keys)
    if not len(twins_R):
        return Placed(line, gaps[ROW].to_numpy(), gaps)
    if line is not held:
        numbers = Placed(line, gaps[ROW].to_numpy(), gaps).numbers(numbers_in(line, twins_R))
        left = without_rows(line, twins_R, folder / "single.parquet")
        return Placed(left, gaps[ROW].to_numpy(), with_twins(gaps, numbers))
    numbers = Placed(line, gaps[ROW].to_numpy(), gaps).numbers(twins_R)
    both = with_twins(gaps, numbers)
    left = RowSet(rows.paths, rows.schema, rows.cut, numbers_of(both))
    return Placed(left, both[ROW].to_numpy(), both)


def is_nan(rows: RowSet, name: str) -> pl.Expr:
    """Tell numbers that are none."""
    return pl.col(name).is_nan() if rows.schema[name].is_float() else pl.lit(value=False)


def told_aside(rows: RowSet, reasons: pl.Expr) -> pl.DataFrame:
    """List the rows that there is a reason against."""
    numbered = rows.scan().with_row_index(ROW).select(pl.col(ROW).cast(pl.Int64), status=reasons)
    return numbered.filter(pl.col("status").is_not_null()).collect(engine="streaming").sort(ROW)


def numbers_of(aside: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Give the numbers of rows as a table of rows leaves them out."""
    return aside[ROW].to_numpy().astype(np.uint32)


def with_twins(gaps: pl.DataFrame, numbers: Places) -> pl.DataFrame:
    """Add the rows whose place another has."""
    more = pl.DataFrame({ROW: numbers, "status": [TWIN] * len(numbers)})
    return pl.concat([gaps, more.cast(gaps.schema)]).sort(ROW)


def twins(line: RowSet, keys: list[str]) -> Places:
    """Find the places of rows that have the same place in a series as the one before."""
    found, start = [], 0
    last: pl.DataFrame | None = None
    for frame in line.frames(keys):
        both = frame if last is None else pl.concat([last, frame])
        same = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1) for key in keys)
        places = both.select(same.fill_null(value=False).arg_true()).to_series().to_numpy()
        found.append(places.astype(np.int64) + start - (len(both) - len(frame)))
        start += len(frame)
        last = frame.tail(1)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def without_rows(line: RowSet, places_R: Places, path: Path) -> RowSet:
    """Copy a sorted table without the rows at some places."""

    def left() -> Iterator[pa.RecordBatch]:
        start = 0
        for frame in line.frames(line.schema.names()):
            here = np.isin(np.arange(start, start + len(frame)), places_R, invert=True)
            yield from to_batches(frame.filter(here))
            start += len(frame)

    write_batches(left(), path)
    return open_file(path)


def numbers_in(line: RowSet, places_R: Places) -> Places:
    """Read the numbers of the rows at some places of a sorted table."""
    numbers = line.scan().select(NUMBER).collect().to_series()
    return numbers.gather(places_R).to_numpy().astype(np.int64)
