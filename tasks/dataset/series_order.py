"""A long table in the order of its series, in slices that fit in memory.

Rows that come in order are read as they are; others are sorted on disk first. A resampled series
becomes a table of its bins. A slice brings as many rows around its own as their windows, answers
and channels reach, so that what is computed of a slice is what the whole table would give.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series import ROW, Context, resample, resampled
from tasks.dataset.external_sort import in_order, to_batches
from tasks.dataset.rowset import RowSet


class Slice(NamedTuple):
    """Rows of a lined up table, with what stands around them."""

    frame: pl.DataFrame
    first: int
    """Where in the frame the slice's own rows begin."""
    stop: int
    """Where they end."""
    place: int
    """Number of the first of them in the whole table."""


def line_keys(layout: Layout) -> list[str]:
    """Name the columns that order the rows: the entity, then the time."""
    return [name for name in (layout.entity, layout.time) if name]


def lined_up(
    rows: RowSet, layout: Layout, *, columns: Sequence[str], target: str | None, folder: Path
) -> RowSet:
    """Give the rows by entity and time; bins where the series is resampled.

    Where they are not in that order already, each has its number in `ROW`.

    Args:
        rows: all of them.
        layout: how they make series.
        columns: those that are needed.
        target: the answer's column, where it is a number.
        folder: for temporary files, which stay as long as the rows are read.

    Raises:
        UnlearnableError: the place of a row is unknown.
    """
    refuse_gaps(rows, layout)
    keys = line_keys(layout)
    line = rows
    if not is_lined_up(rows, keys):
        wanted = list(dict.fromkeys([*keys, *columns]))
        left = rows.scan().select(wanted).with_row_index(ROW)
        for name in reversed(keys):
            path = folder / f"by_{keys.index(name)}.parquet"
            write_batches(in_order(left, name), path)
            line = open_file(path)
            left = line.scan()
    if resampled(layout):
        path = folder / "bins.parquet"
        write_batches(bins(line, layout, columns=columns, target=target), path)
        return open_file(path)
    return line


def refuse_gaps(rows: RowSet, layout: Layout) -> None:
    """Refuse rows whose place is unknown.

    Raises:
        UnlearnableError: says how many.
    """
    keys = line_keys(layout)
    counts = rows.scan().select(pl.len().alias(ROW), pl.col(keys).null_count()).collect()
    for name in keys:
        if missing := counts[name].item():
            raise UnlearnableError(
                f"column '{name}' is missing in {missing} of {counts[ROW].item()} rows, so their "
                "place in the series is unknown; drop these rows upstream"
            )


def is_lined_up(rows: RowSet, keys: Sequence[str]) -> bool:
    """Tell whether the rows come by these keys already."""
    last: pl.DataFrame | None = None
    for frame in rows.frames(keys):
        both = frame if last is None else pl.concat([last, frame])
        rising = pl.lit(value=True)
        for name in reversed(keys):
            before, here = pl.col(name).shift(1), pl.col(name)
            rising = (here > before) | ((here == before) & rising)
        if not both.select(rising.slice(1).all()).item():
            return False
        last = frame.tail(1)
    return True


def write_batches(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    """Write batches to a temporary file that is quick to write and to read."""
    writer: pq.ParquetWriter | None = None
    for batch in batches:
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="lz4")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


def open_file(path: Path) -> RowSet:
    """Read a temporary file as rows."""
    return RowSet((path,), pl.Schema(pl.read_parquet_schema(path)))


def bins(
    line: RowSet, layout: Layout, *, columns: Sequence[str], target: str | None
) -> Iterator[pa.RecordBatch]:
    """Resample piece by piece; the last bin of each waits for the rows that the next may add."""
    held: pl.DataFrame | None = None
    for piece in numbered(line, list(dict.fromkeys([*line_keys(layout), *columns]))):
        held = piece if held is None else pl.concat([held, piece])
        table = resample(held, layout, target=target)
        yield from to_batches(table[:-1])
        last = table.row(-1, named=True)
        here = pl.col(layout.time or ROW) >= last[layout.time or ROW]
        if layout.entity:
            here &= pl.col(layout.entity) == last[layout.entity]
        held = held.filter(here)
    if held is not None:
        yield from to_batches(resample(held, layout, target=target))


def numbered(line: RowSet, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Read frames in which every row has its number."""
    if ROW in line.schema:
        yield from line.frames([*columns, ROW])
        return
    read = 0
    for frame in line.frames(columns):
        yield frame.with_row_index(ROW, offset=read)
        read += len(frame)


def slices(line: RowSet, columns: Sequence[str], context: Context) -> Iterator[Slice]:
    """Cut a lined up table into slices, each with its context."""
    held, first, place = None, 0, 0
    for piece in numbered(line, columns):
        held = piece if held is None else pl.concat([held, piece])
        stop = len(held) - context.future_steps
        if stop > first:
            yield Slice(held, first, stop, place)
            place += stop - first
            kept = max(0, stop - context.past_steps)
            held, first = held[kept:], stop - kept
    if held is not None and first < len(held):
        yield Slice(held, first, len(held), place)
