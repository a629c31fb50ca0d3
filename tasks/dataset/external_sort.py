"""Sort rows by a column in bounded memory, whatever their number.

Polars sorts in memory. A larger table is partitioned into temporary files, one for each range of
the column, bounded by quantiles of a sample; then each range is sorted in memory. Rows whose value
is a bound, and rows with a null or NaN, have files of their own that need no sorting, so that one
frequent value cannot fill the memory. The cost is a second pass over the rows, a pass over the
column, and disk space for one compressed copy in the temporary folder (TMPDIR).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc

RANGE_BYTES = 32 * 2**20
"""Decoded bytes of a range; sorting it takes about four times as much memory."""

_MAX_RANGES = 256
"""Up to two files are open for each; a larger table has larger ranges."""

_RANGE_COLUMN = "\0range"

_SAMPLE_ROWS = 100_000


_BATCH_BYTES = 8 * 2**20

_MAX_BATCH_ROWS = 65_536


def to_record_batches(frame: pl.DataFrame, rows: int = _MAX_BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Convert a frame to Arrow, in types that every version of Arrow supports."""
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    yield from arrow.to_batches(max_chunksize=rows)


def estimate_row_bytes(rows: pl.LazyFrame) -> float:
    """Estimate the decoded bytes of a row from the first 256."""
    head = rows.head(256).collect()
    return max(1.0, head.estimated_size() / max(1, len(head)))


def choose_batch_rows(size: float) -> int:
    """Choose the number of rows of a batch, given the bytes of a row."""
    return max(16, min(_MAX_BATCH_ROWS, int(_BATCH_BYTES / size)))


def sort_rows(rows: pl.LazyFrame, column: str) -> Iterator[pa.RecordBatch]:
    """Sort rows by a column, stable, nulls first and NaN last.

    Args:
        rows: the table, which is scanned two or three times.
        column: to sort by, ascending.
    """
    count, size = int(rows.select(pl.len()).collect().item()), estimate_row_bytes(rows)
    ranges = min(_MAX_RANGES, int(count * size / RANGE_BYTES) + 1)
    if ranges == 1:
        frame = rows.collect(engine="streaming").sort(column, maintain_order=True)
        yield from to_record_batches(frame, choose_batch_rows(size))
        return
    bounds = _find_range_bounds(rows.select(column), count, ranges)
    with TemporaryDirectory(prefix="ostinato-sort-") as folder:
        _write_ranges(rows, bounds, Path(folder), choose_batch_rows(size))
        for path in sorted(Path(folder).iterdir()):
            yield from _read_range(path, column, choose_batch_rows(size))


def _find_range_bounds(values: pl.LazyFrame, count: int, ranges: int) -> pl.Series:
    """Return the distinct values that bound ranges of about equal size, from an even sample."""
    step = max(1, count // _SAMPLE_ROWS)
    sample = pl.concat([batch.gather_every(step) for batch in values.collect_batches()])
    known = sample.to_series().drop_nulls()
    known = (known.drop_nans() if known.dtype.is_float() else known).sort()
    indices = {len(known) * number // ranges for number in range(1, ranges)}
    return known.gather(sorted(index for index in indices if index < len(known))).unique().sort()


def _number_ranges(values: pl.Series, bounds: pl.Series) -> pl.Series:
    """Assign range numbers: 0 for null, odd between bounds, even on a bound, the last for NaN."""
    below = bounds.search_sorted(values, side="left").cast(pl.Int32)
    up_to = bounds.search_sorted(values, side="right").cast(pl.Int32)
    number = pl.select(1 + below + up_to).to_series()
    if values.dtype.is_float():
        number = number.set(values.is_nan().fill_null(value=False), 2 * len(bounds) + 2)
    return number.set(values.is_null(), 0).rename("")


def _write_ranges(rows: pl.LazyFrame, bounds: pl.Series, folder: Path, chunk: int) -> None:
    """Write each row to the file of its range; even ranges have one value each."""
    writers: dict[int, Any] = {}
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        for number, piece in _split_by_range(rows, bounds, chunk):
            if number not in writers:
                path = folder / f"{number:05}-{'sorted' if number % 2 == 0 else 'range'}"
                writer = pa.ipc.new_stream(path, piece.schema, options=options)
                writers[number] = stack.enter_context(writer)
            writers[number].write_batch(piece)


def _split_by_range(
    rows: pl.LazyFrame, bounds: pl.Series, chunk: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Split batches of rows by range; rows of a range stay in order."""
    for batch in rows.collect_batches(chunk_size=chunk):
        marked = batch.with_columns(_number_ranges(batch[bounds.name], bounds).alias(_RANGE_COLUMN))
        parts = marked.partition_by(
            _RANGE_COLUMN, maintain_order=True, include_key=False, as_dict=True
        )
        for (number,), part in parts.items():
            for piece in to_record_batches(part):
                yield number, piece


def _read_range(path: Path, column: str, chunk: int) -> Iterator[pa.RecordBatch]:
    """Read one range; sort it where its rows may differ in the column."""
    with path.open("rb") as file, pa.ipc.open_stream(file) as batches:
        if path.name.endswith("sorted"):
            yield from batches
            return
        frame = pl.DataFrame(batches.read_all())
    path.unlink()
    yield from to_record_batches(frame.sort(column, maintain_order=True), chunk)
