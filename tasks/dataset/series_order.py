"""Sort a long table by series and time, and read it in slices that fit in memory.

Rows that are in order already are read as they are; others are sorted on disk first. Resampling
gives a table of time bins. A slice contains as many rows around its own as their windows, targets
and channels need, so that results on slices equal those on the whole table.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series import ROW_COLUMN, WindowContext, is_resampled, resample_series
from tasks.dataset.external_sort import sort_rows, to_record_batches
from tasks.dataset.rowset import RowSet


class SeriesSlice(NamedTuple):
    """Some rows of a sorted table, with the rows around them."""

    frame: pl.DataFrame
    first: int
    """Index in the frame of the slice's first own row."""
    stop: int
    """Index after its last own row."""
    offset: int
    """Index of its first own row in the whole table."""


def list_sort_keys(layout: Layout) -> list[str]:
    """Return the columns that rows are sorted by: the entity, then the time."""
    return [name for name in (layout.entity, layout.time) if name]


def sort_series(
    rows: RowSet, layout: Layout, *, columns: Sequence[str], averaged: Sequence[str], folder: Path
) -> RowSet:
    """Sort rows by entity and time; resample them where the layout requires it.

    Where the order changes, or the rows are resampled, column `ROW` has their original numbers.

    Args:
        rows: the table.
        layout: how rows form series.
        columns: to read.
        averaged: the target's columns, where they are numbers and so are averaged in bins.
        folder: for temporary files, which must exist as long as the result is read.

    Raises:
        UnlearnableError: the entity or the time of a row is missing.
    """
    _check_keys_complete(rows, layout)
    keys = list_sort_keys(layout)
    sorted_rows = rows
    if not _is_sorted(rows, keys):
        needed = list(dict.fromkeys([*keys, *columns]))
        unsorted = rows.scan().select(needed).with_row_index(ROW_COLUMN)
        for name in reversed(keys):
            path = folder / f"by_{keys.index(name)}.parquet"
            write_temporary_rows(sort_rows(unsorted, name), path)
            sorted_rows = open_temporary_rows(path)
            unsorted = sorted_rows.scan()
    if is_resampled(layout):
        path = folder / "bins.parquet"
        write_temporary_rows(
            _resample_series(sorted_rows, layout, columns=columns, averaged=averaged), path
        )
        return open_temporary_rows(path)
    return sorted_rows


def write_temporary_rows(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    """Write batches to a temporary Parquet file, with fast compression."""
    writer: pq.ParquetWriter | None = None
    for batch in batches:
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="lz4")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


def open_temporary_rows(path: Path) -> RowSet:
    """Open a temporary Parquet file."""
    return RowSet((path,), pl.Schema(pl.read_parquet_schema(path)))


def slice_series(
    sorted_rows: RowSet, columns: Sequence[str], context: WindowContext
) -> Iterator[SeriesSlice]:
    """Read a sorted table in slices, each with the rows around it that its windows need."""
    frame, first, offset = None, 0, 0
    for piece in _read_numbered_frames(sorted_rows, columns):
        frame = piece if frame is None else pl.concat([frame, piece])
        stop = len(frame) - context.future_steps
        if stop > first:
            yield SeriesSlice(frame, first, stop, offset)
            offset += stop - first
            start = max(0, stop - context.past_steps)
            frame, first = frame[start:], stop - start
    if frame is not None and first < len(frame):
        yield SeriesSlice(frame, first, len(frame), offset)


def _check_keys_complete(rows: RowSet, layout: Layout) -> None:
    """Check that all rows have an entity and a time.

    Raises:
        UnlearnableError: some do not; the message has their number.
    """
    keys = list_sort_keys(layout)
    counts = rows.scan().select(pl.len().alias(ROW_COLUMN), pl.col(keys).null_count()).collect()
    for name in keys:
        if missing := counts[name].item():
            raise UnlearnableError(
                f"column '{name}' is missing in {missing} of {counts[ROW_COLUMN].item()} rows, so "
                "their position in the series is unknown; drop these rows upstream"
            )


def _is_sorted(rows: RowSet, keys: Sequence[str]) -> bool:
    """Check whether the rows are sorted by these keys."""
    last: pl.DataFrame | None = None
    for frame in rows.iter_frames(keys):
        joined = frame if last is None else pl.concat([last, frame])
        ascending = pl.lit(value=True)
        for name in reversed(keys):
            before, current = pl.col(name).shift(1), pl.col(name)
            ascending = (current > before) | ((current == before) & ascending)
        if not joined.select(ascending.slice(1).all()).item():
            return False
        last = frame.tail(1)
    return True


def _resample_series(
    sorted_rows: RowSet, layout: Layout, *, columns: Sequence[str], averaged: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Resample frame by frame; the last bin of each waits for rows that the next may add."""
    pending: pl.DataFrame | None = None
    for piece in _read_numbered_frames(
        sorted_rows, list(dict.fromkeys([*list_sort_keys(layout), *columns]))
    ):
        pending = piece if pending is None else pl.concat([pending, piece])
        table = resample_series(pending, layout, averaged=averaged)
        yield from to_record_batches(table[:-1])
        last = table.row(-1, named=True)
        in_last_bin = pl.col(layout.time or ROW_COLUMN) >= last[layout.time or ROW_COLUMN]
        if layout.entity:
            in_last_bin &= pl.col(layout.entity) == last[layout.entity]
        pending = pending.filter(in_last_bin)
    if pending is not None:
        yield from to_record_batches(resample_series(pending, layout, averaged=averaged))


def _read_numbered_frames(sorted_rows: RowSet, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Read frames whose column `ROW` has the number of each row."""
    if ROW_COLUMN in sorted_rows.schema:
        yield from sorted_rows.iter_frames([*columns, ROW_COLUMN])
        return
    start = 0
    for frame in sorted_rows.iter_frames(columns):
        yield frame.with_row_index(ROW_COLUMN, offset=start)
        start += len(frame)
