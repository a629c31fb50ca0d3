"""Reading the rows of a snapshot: lazily, or in frames that fit in memory."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

FRAME_BYTES = 64 * 2**20
"""Decoded bytes that one frame may take, by the file's own statistics."""

MAX_FRAME_ROWS = 65_536


def scan_rows(folder: Path) -> pl.LazyFrame:
    """Scan a snapshot."""
    return pl.scan_parquet(folder / "rows.parquet")


def row_frames(folder: Path, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Read the named columns in order. The cut depends on the file alone."""
    with pq.ParquetFile(folder / "rows.parquet") as file:
        size = sum(
            file.metadata.row_group(group).total_byte_size
            for group in range(file.metadata.num_row_groups)
        )
        rows = max(1, file.metadata.num_rows)
        fitting = int(FRAME_BYTES / max(1.0, size / rows))
        batch = max(1, min(MAX_FRAME_ROWS, fitting))
        for record_batch in file.iter_batches(batch_size=batch, columns=columns):
            frame = pl.from_arrow(record_batch)
            if isinstance(frame, pl.DataFrame):
                yield frame
