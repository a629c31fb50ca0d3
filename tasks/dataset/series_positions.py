"""Sort the rows of a long table by series and time; reject rows without a unique position.

A row without a time or entity, or with the same time as another row of its series, is rejected with
that reason; its values affect no other row.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from models.features.config import Layout
from models.features.series import ROW_COLUMN as NUMBER
from models.features.series import is_resampled
from tasks.dataset.external_sort import to_record_batches
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_order import (
    list_sort_keys,
    open_temporary_rows,
    sort_series,
    write_temporary_rows,
)

RowNumbers = NDArray[np.int64]

ROW = "row"

_MISSING_KEY = "column '{}' is missing, so its position in the series is unknown"
_DUPLICATE_TIME = "another row of its series has the same time"


class OrderedRows(NamedTuple):
    """A sorted table, and the rows that were rejected."""

    sorted_rows: RowSet
    dropped_R: RowNumbers
    """Numbers of rejected rows that were left out before the others were numbered, ascending."""
    rejected: pl.DataFrame
    """Their numbers as `row`, the reasons as `status`."""

    def to_source_numbers(self, numbers_R: RowNumbers) -> RowNumbers:
        """Convert numbers counted without `dropped_R` to the rows' numbers in the source."""
        before = self.dropped_R - np.arange(len(self.dropped_R))
        return numbers_R + np.searchsorted(before, numbers_R, side="right")


def order_rows(
    rows: RowSet, layout: Layout, columns: list[str], *, averaged: Sequence[str], folder: Path
) -> OrderedRows:
    """Sort the rows by series and time, without those that have no unique position.

    Args:
        rows: the table.
        layout: how rows form series.
        columns: to read.
        averaged: the target's columns, where they are numbers and so are averaged in bins.
        folder: for temporary files, which must exist as long as the result is read.
    """
    keys = list_sort_keys(layout)
    reasons = pl.coalesce(
        pl.when(pl.col(name).is_null() | _is_nan(rows, name)).then(
            pl.lit(_MISSING_KEY.format(name))
        )
        for name in keys
    )
    missing = _list_rejected(rows, reasons)
    complete = RowSet(rows.paths, rows.schema, rows.cut, _to_excluded(missing))
    sorted_rows = sort_series(complete, layout, columns=columns, averaged=averaged, folder=folder)
    ordered = OrderedRows(sorted_rows, missing[ROW].to_numpy(), missing)
    if is_resampled(layout):
        return ordered
    duplicates_R = _find_duplicates(sorted_rows, keys)
    if not len(duplicates_R):
        return ordered
    if sorted_rows is not complete:
        # Sorted into a file of its own: the duplicates are left out of a copy.
        numbers_R = ordered.to_source_numbers(_read_row_numbers(sorted_rows, duplicates_R))
        remaining = _copy_without(sorted_rows, duplicates_R, folder / "single.parquet")
        return OrderedRows(remaining, ordered.dropped_R, _add_duplicates(missing, numbers_R))
    rejected = _add_duplicates(missing, ordered.to_source_numbers(duplicates_R))
    remaining = RowSet(rows.paths, rows.schema, rows.cut, _to_excluded(rejected))
    return OrderedRows(remaining, rejected[ROW].to_numpy(), rejected)


def _is_nan(rows: RowSet, name: str) -> pl.Expr:
    """Return the condition for NaN; False for a column that is not of floats."""
    return pl.col(name).is_nan() if rows.schema[name].is_float() else pl.lit(value=False)


def _list_rejected(rows: RowSet, reasons: pl.Expr) -> pl.DataFrame:
    """List the rows for which `reasons` is not null: `row` and `status`."""
    numbered = rows.scan().with_row_index(ROW).select(pl.col(ROW).cast(pl.Int64), status=reasons)
    return numbered.filter(pl.col("status").is_not_null()).collect(engine="streaming").sort(ROW)


def _to_excluded(rejected: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Return the numbers of rejected rows in the form of `RowSet.excluded_rows`."""
    return rejected[ROW].to_numpy().astype(np.uint32)


def _add_duplicates(rejected: pl.DataFrame, numbers_R: RowNumbers) -> pl.DataFrame:
    """Add rows to the rejected ones, for having the time of another row."""
    more = pl.DataFrame({ROW: numbers_R, "status": [_DUPLICATE_TIME] * len(numbers_R)})
    return pl.concat([rejected, more.cast(rejected.schema)]).sort(ROW)


def _find_duplicates(sorted_rows: RowSet, keys: list[str]) -> RowNumbers:
    """Find the indices of rows of a sorted table that have the same keys as the row before."""
    found, start = [], 0
    last: pl.DataFrame | None = None
    for frame in sorted_rows.iter_frames(keys):
        joined = frame if last is None else pl.concat([last, frame])
        same = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1) for key in keys)
        indices = joined.select(same.fill_null(value=False).arg_true()).to_series().to_numpy()
        found.append(indices.astype(np.int64) + start - (len(joined) - len(frame)))
        start += len(frame)
        last = frame.tail(1)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _copy_without(sorted_rows: RowSet, indices_R: RowNumbers, path: Path) -> RowSet:
    """Copy a sorted table to a file, without the rows at some indices."""

    def read_remaining() -> Iterator[pa.RecordBatch]:
        start = 0
        for frame in sorted_rows.iter_frames(sorted_rows.schema.names()):
            remaining = np.isin(np.arange(start, start + len(frame)), indices_R, invert=True)
            yield from to_record_batches(frame.filter(remaining))
            start += len(frame)

    write_temporary_rows(read_remaining(), path)
    return open_temporary_rows(path)


def _read_row_numbers(sorted_rows: RowSet, indices_R: RowNumbers) -> RowNumbers:
    """Read the original numbers of the rows at some indices of a sorted table."""
    numbers = sorted_rows.scan().select(NUMBER).collect().to_series()
    return numbers.gather(indices_R).to_numpy().astype(np.int64)
