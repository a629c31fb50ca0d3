"""Sort rows by a column in bounded memory, whatever their number.

Polars sorts in memory. What is too large for that is dealt out to temporary files, one for each
range of the column, cut at the quantiles of a sample; then each range is sorted alone. Rows that
share a cut's value, and rows without a value, have files of their own that need no sorting, so
that one common value cannot fill the memory. The price is a second pass over the rows, a pass
over the column alone, and disk for one compressed copy in the temporary folder (TMPDIR).
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
"""Decoded bytes of a range; sorting one takes about four times as much."""

MAX_RANGES = 256
"""Two files are open for each. A table of more than MAX_RANGES * RANGE_BYTES has larger ranges."""

MARK = "\0range"

SAMPLE_ROWS = 100_000


BATCH_BYTES = 8 * 2**20

MAX_BATCH_ROWS = 65_536


def to_batches(frame: pl.DataFrame, rows: int = MAX_BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Hand a frame over to Arrow, in types that every reader of Arrow knows."""
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    yield from arrow.to_batches(max_chunksize=rows)


def row_bytes(rows: pl.LazyFrame) -> float:
    """Estimate the decoded size of a row, by the first ones."""
    head = rows.head(256).collect()
    return max(1.0, head.estimated_size() / max(1, len(head)))


def batch_rows(size: float) -> int:
    """Choose the rows of a batch so that one fits in memory, large cells or small."""
    return max(16, min(MAX_BATCH_ROWS, int(BATCH_BYTES / size)))


def in_order(rows: pl.LazyFrame, column: str) -> Iterator[pa.RecordBatch]:
    """Give the rows by the column, gaps first and NaN last; ties keep the order of the rows."""
    count, size = int(rows.select(pl.len()).collect().item()), row_bytes(rows)
    ranges = min(MAX_RANGES, int(count * size / RANGE_BYTES) + 1)
    if ranges == 1:
        frame = rows.collect(engine="streaming").sort(column, maintain_order=True)
        yield from to_batches(frame, batch_rows(size))
        return
    cuts = find_cuts(rows.select(column), count, ranges)
    with TemporaryDirectory(prefix="ostinato-sort-") as folder:
        deal(rows, cuts, Path(folder), batch_rows(size))
        for path in sorted(Path(folder).iterdir()):
            yield from read_range(path, column, batch_rows(size))


def find_cuts(values: pl.LazyFrame, count: int, ranges: int) -> pl.Series:
    """Cut the values into ranges of about as many rows each, by a sample that is spread evenly."""
    step = max(1, count // SAMPLE_ROWS)
    sample = pl.concat([batch.gather_every(step) for batch in values.collect_batches()])
    known = sample.to_series().drop_nulls()
    known = (known.drop_nans() if known.dtype.is_float() else known).sort()
    places = [len(known) * index // ranges for index in range(1, ranges)]
    return known.gather(sorted({place for place in places if place < len(known)})).unique().sort()


def numbered(values: pl.Series, cuts: pl.Series) -> pl.Series:
    """Return each value's range: 0 for gaps, odd between the cuts, even on one, last for NaN."""
    below = cuts.search_sorted(values, side="left").cast(pl.Int32)
    upto = cuts.search_sorted(values, side="right").cast(pl.Int32)
    number = pl.select(1 + below + upto).to_series()
    if values.dtype.is_float():
        number = number.set(values.is_nan().fill_null(value=False), 2 * len(cuts) + 2)
    return number.set(values.is_null(), 0).rename("")


def deal(rows: pl.LazyFrame, cuts: pl.Series, folder: Path, chunk: int) -> None:
    """Write each row to the file of its range."""
    writers: dict[int, Any] = {}
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        for number, piece in numbered_pieces(rows, cuts, chunk):
            if number not in writers:
                path = folder / f"{number:05}-{'sorted' if number % 2 == 0 else 'range'}"
                writer = pa.ipc.new_stream(path, piece.schema, options=options)
                writers[number] = stack.enter_context(writer)
            writers[number].write_batch(piece)


def numbered_pieces(
    rows: pl.LazyFrame, cuts: pl.Series, chunk: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Take the rows apart by their range, in the order in which they come."""
    for batch in rows.collect_batches(chunk_size=chunk):
        marked = batch.with_columns(numbered(batch[cuts.name], cuts).alias(MARK))
        parts = marked.partition_by(MARK, maintain_order=True, include_key=False, as_dict=True)
        for (number,), part in parts.items():
            for piece in to_batches(part):
                yield number, piece


def read_range(path: Path, column: str, chunk: int) -> Iterator[pa.RecordBatch]:
    """Read one range back, sorted where its rows differ in the column."""
    with path.open("rb") as file, pa.ipc.open_stream(file) as batches:
        if path.name.endswith("sorted"):
            yield from batches
            return
        frame = pl.DataFrame(batches.read_all())
    path.unlink()
    yield from to_batches(frame.sort(column, maintain_order=True), chunk)
