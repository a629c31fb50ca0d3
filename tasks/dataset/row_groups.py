"""Parquet written in row groups of one size, from pieces of any size, with little memory."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.rowset import frame_rows

BATCH_ROWS = 16_384
"""Rows that are read of a Parquet file at once."""


def copy_parquet(path: Path, target: Path, *, rows: int) -> None:
    """Copy a Parquet file in small pieces, however large its row groups are.

    Polars reads several row groups ahead, so that its memory depends on how the file was written.
    PyArrow cannot read missing values of a type of fixed length, so such files are left to Polars.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:
        batches = file.iter_batches(batch_size=min(BATCH_ROWS, rows))
        tables = (pa.Table.from_batches([batch]) for batch in batches)
        write_groups(tables, target, rows=rows, schema=file.schema_arrow)


def write_groups(
    tables: Iterable[pa.Table], target: Path, *, rows: int, schema: pa.Schema | None = None
) -> None:
    """Write tables as row groups of one size, whatever size they come in.

    Args:
        tables: of one schema.
        target: the Parquet file.
        rows: of a row group; 0 chooses by the size of the first rows.
        schema: of the tables, where there may be none.
    """
    writer: pq.ParquetWriter | None = None
    held: list[pa.Table] = []
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema, compression="zstd")
                rows = rows or group_rows(table)
            held.append(table)
            while sum(piece.num_rows for piece in held) >= rows:
                whole = pa.concat_tables(held)
                writer.write_table(whole.slice(0, rows), row_group_size=rows)
                held = [whole.slice(rows)]
        if writer is None and schema is not None:
            writer = pq.ParquetWriter(target, schema, compression="zstd")
        if writer is not None and (left := [piece for piece in held if piece.num_rows]):
            writer.write_table(pa.concat_tables(left), row_group_size=max(1, rows))
    finally:
        if writer is not None:
            writer.close()


def group_rows(table: pa.Table) -> int:
    """Choose the rows of a row group by the first rows' size, large cells or small."""
    frame = pl.from_arrow(table.slice(0, 256))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table
    return frame_rows(frame.lazy())
