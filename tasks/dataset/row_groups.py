"""Write Parquet in row groups of one size from tables of any size, in bounded memory."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.rowset import choose_frame_rows

_BATCH_ROWS = 16_384
"""Most rows that are read from a Parquet file at once."""


def copy_parquet(path: Path, target: Path, *, rows: int) -> None:
    """Copy a Parquet file in bounded memory, however large its row groups are.

    Polars reads several row groups ahead, so that its memory depends on how the file was written.
    PyArrow cannot read nulls of fixed-size lists: the caller leaves such files to Polars.

    Args:
        path: of the file.
        target: of the copy.
        rows: of its row groups.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:
        batches = file.iter_batches(batch_size=min(_BATCH_ROWS, rows))
        tables = (pa.Table.from_batches([batch]) for batch in batches)
        write_row_groups(tables, target, rows=rows, schema=file.schema_arrow)


def write_row_groups(
    tables: Iterable[pa.Table], target: Path, *, rows: int, schema: pa.Schema | None = None
) -> None:
    """Write tables of any size as row groups of one size.

    Args:
        tables: with the same schema.
        target: the Parquet file.
        rows: of a row group; 0 chooses it by the size of the first rows.
        schema: of the tables, used where there are none.
    """
    writer: pq.ParquetWriter | None = None
    pending: list[pa.Table] = []
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema, compression="zstd")
                rows = rows or _choose_group_rows(table)
            pending.append(table)
            while sum(piece.num_rows for piece in pending) >= rows:
                whole = pa.concat_tables(pending)
                writer.write_table(whole.slice(0, rows), row_group_size=rows)
                pending = [whole.slice(rows)]
        if writer is None and schema is not None:
            writer = pq.ParquetWriter(target, schema, compression="zstd")
        if writer is not None and (rest := [piece for piece in pending if piece.num_rows]):
            writer.write_table(pa.concat_tables(rest), row_group_size=max(1, rows))
    finally:
        if writer is not None:
            writer.close()


def _choose_group_rows(table: pa.Table) -> int:
    """Choose the rows of a row group by the size of the first 256 rows."""
    frame = pl.from_arrow(table.slice(0, 256))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table
    return choose_frame_rows(frame.lazy())
