"""The data as of a time: rows with a later time are left out of the snapshot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from tasks.dataset.rowset import AsOfCut, RowSet, to_utc
from tasks.ingestion.config import SourceConfig
from tasks.task_options import logger


def find_time_column(source: SourceConfig, schema: Mapping[str, pl.DataType]) -> str | None:
    """Return the watermark or time column that holds dates or times; None where neither does."""
    for column in (source.watermark, source.time):
        if column is not None and isinstance(schema.get(column), pl.Date | pl.Datetime):
            return column
    for column in (source.watermark, source.time):
        if column is not None and schema.get(column) == pl.String:
            logger().warning(
                "'%s' holds text, not dates: rows later than the run's time are not left out",
                column,
            )
    return None


def count_rows_until(rows: RowSet, cut: AsOfCut, totals: Sequence[int]) -> list[int]:
    """Count the rows of each part up to the time of the cut.

    Args:
        rows: the parts, without a cut.
        cut: the last time that counts.
        totals: number of all rows of each part, returned where no row is later.
    """
    return [
        _count_rows(RowSet((path,), rows.schema, cut)) if _has_later_rows(path, cut) else total
        for path, total in zip(rows.paths, totals, strict=True)
    ]


def narrow_cut(rows: RowSet, cut: AsOfCut) -> AsOfCut:
    """Move the cut back to the last time that a row has.

    Two cuts with no row between them then give the same snapshot.
    """
    top = rows.scan().select(pl.col(cut.column).max()).collect(engine="streaming").item()
    return cut if top is None else AsOfCut(cut.column, to_utc(top))


def _count_rows(rows: RowSet) -> int:
    return int(rows.scan().select(pl.len()).collect(engine="streaming").item())


def _has_later_rows(path: Path, cut: AsOfCut) -> bool:
    """Check for rows later than the cut, from the Parquet statistics where they suffice."""
    dtype = pl.read_parquet_schema(path).get(cut.column)
    if dtype is None or dtype == pl.Null:
        return False
    with pq.ParquetFile(path, pre_buffer=False) as file:
        metadata = file.metadata
        paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
        index = paths.index(cut.column)
        groups = range(metadata.num_row_groups)
        statistics = [metadata.row_group(group).column(index).statistics for group in groups]
    if all(each is not None and each.has_min_max for each in statistics):
        try:
            return any(to_utc(each.max) > cut.until for each in statistics)
        except (OverflowError, ValueError, TypeError):
            # Years outside of 1 to 9999, or a type with another physical form: the rows decide.
            pass
    later = ~cut.build_filter(dtype)
    scan = pl.scan_parquet(path, glob=False).select(later.any())
    return bool(scan.collect(engine="streaming").item())
