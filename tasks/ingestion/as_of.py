"""The data as of a time: which rows a run sees, and which came later."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from tasks.dataset.rowset import Cut, RowSet, instant
from tasks.ingestion.config import SourceConfig
from tasks.task_options import logger


def time_column(source: SourceConfig, schema: Mapping[str, pl.DataType]) -> str | None:
    """Name the column by which a run sees the data as of a time, where there is one."""
    for column in (source.watermark, source.time):
        if column is not None and isinstance(schema.get(column), pl.Date | pl.Datetime):
            return column
    for column in (source.watermark, source.time):
        if column is not None and schema.get(column) == pl.String:
            logger().warning(
                "'%s' holds text, no dates: rows are not cut at the time of the run", column
            )
    return None


def kept_rows(rows: RowSet, cut: Cut, totals: Sequence[int]) -> list[int]:
    """Count for each part the rows up to a time.

    Args:
        rows: the parts.
        cut: the time.
        totals: all rows of each part.
    """
    return [
        count(RowSet((path,), rows.schema, cut)) if has_later(path, cut) else total
        for path, total in zip(rows.paths, totals, strict=True)
    ]


def count(rows: RowSet) -> int:
    """Count rows."""
    return int(rows.scan().select(pl.len()).collect(engine="streaming").item())


def has_later(path: Path, cut: Cut) -> bool:
    """Tell whether a part has a row later than a time, by its statistics where they tell."""
    dtype = pl.read_parquet_schema(path).get(cut.column)
    if dtype is None or dtype == pl.Null:
        return False
    with pq.ParquetFile(path, pre_buffer=False) as file:
        metadata = file.metadata
        places = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
        place = places.index(cut.column)
        groups = range(metadata.num_row_groups)
        found = [metadata.row_group(group).column(place).statistics for group in groups]
    if all(each is not None and each.has_min_max for each in found):
        try:
            return any(instant(each.max) > cut.until for each in found)
        except (OverflowError, ValueError, TypeError):
            # Years that Python's dates do not reach, or a type that is stored otherwise.
            pass
    later = ~cut.keeps(dtype)
    scan = pl.scan_parquet(path, glob=False).select(later.any())
    return bool(scan.collect(engine="streaming").item())


def last_kept(rows: RowSet, cut: Cut) -> Cut:
    """Cut at the last time that is kept: between two times without a row nothing changes."""
    top = rows.scan().select(pl.col(cut.column).max()).collect(engine="streaming").item()
    return cut if top is None else Cut(cut.column, instant(top))
