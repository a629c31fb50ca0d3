"""Incremental reads of a table: only rows above the last watermark, each read as one part.

The rows that were read before are verified by their count. Where it differs (late rows, rewritten
history), the newest batches are dropped until it agrees, and their rows are read again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.dataset.rowset import to_column_time
from tasks.errors import SourceError
from tasks.facts import PartFacts
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.parts import make_table_part
from tasks.ingestion.source_state import (
    SourceState,
    WatermarkBatch,
    decode_watermark,
    encode_watermark,
)
from tasks.ingestion.tables.reader import (
    RowRange,
    Table,
    count_rows,
    find_newest,
    read_batches,
    read_table_schema,
    read_table_version,
)
from tasks.ingestion.text_columns import parse_columns
from tasks.records import Part
from tasks.storage.artifacts import find_by_key
from tasks.storage.store import Store
from tasks.task_options import logger


def read_table_parts(
    source: SourceConfig, store: Store, state: SourceState, *, as_of: datetime | None
) -> list[Part]:
    """Return the parts that hold a table's rows, and record in `state` what was read.

    Raises:
        SourceError: the table cannot be read, or lacks the watermark's column.
    """
    version = read_table_version(source.describe_table())
    table = source.describe_table(version)
    stored = _find_reusable_batches(store, state, table)
    complete = len(stored) == len(state.batches)
    if version is not None and version == state.version and stored and complete:
        return _find_parts(store, stored, as_of)
    watermark, state.version = source.table_watermark, None
    if watermark is None:
        part = _read_part(store, table, None, formats=source.parse)
        state.batches = [
            WatermarkBatch(until=encode_watermark(""), rows=part.facts.rows, key=part.key)
        ]
        state.version = version
        return _find_parts(store, state.batches, None)
    _check_watermark_column(table, watermark)
    newest = find_newest(table, watermark)
    limit = _limit_watermark(newest, read_table_schema(table)[watermark], as_of)
    _warn_missing_watermarks(table, watermark, newest)
    state.batches = _read_new_rows(source, table, store, stored=stored, limit=limit)
    if limit == newest:
        state.version = version
    return _find_parts(store, state.batches, as_of)


def _warn_missing_watermarks(
    table: Table,
    watermark: str,
    newest: Any,  # noqa: ANN401 - of the column's own type
) -> None:
    """Warn of rows with a null watermark: their time of arrival is unknown, so none is read."""
    if newest is None:
        return
    known = count_rows(table, RowRange(column=watermark, until=newest))
    if missing := count_rows(table, None) - known:
        logger().warning(
            "%s row(s) of %s have no '%s' and are left out; fill it, or set source.watermark",
            missing, table.query or table.uri, watermark,
        )  # fmt: skip


def _check_watermark_column(table: Table, watermark: str) -> None:
    """Check that the table has the watermark's column.

    Raises:
        SourceError: it does not.
    """
    schema = read_table_schema(table)
    if watermark not in schema:
        raise SourceError.of(
            f"source.watermark or source.time: {table.uri} has no column '{watermark}'",
            found=f"Columns: {', '.join(schema.names())}",
            hint="correct the name",
        )


def _find_reusable_batches(store: Store, state: SourceState, table: Table) -> list[WatermarkBatch]:
    """Return the batches before the first whose part is gone; none where the schema has changed."""
    columns = {name: str(dtype) for name, dtype in read_table_schema(table).items()}
    unchanged, state.columns = state.columns == columns, columns
    reusable: list[WatermarkBatch] = []
    for batch in state.batches if unchanged else []:
        if find_by_key(store, "part", batch.key, PartFacts) is None:
            break
        reusable.append(batch)
    return reusable


def _find_parts(
    store: Store, batches: Sequence[WatermarkBatch], as_of: datetime | None
) -> list[Part]:
    """Find the parts of batches, without those that begin after `as_of`."""
    chosen = []
    for index, batch in enumerate(batches):
        if index and as_of is not None and _ends_at_or_after(batches[index - 1], as_of):
            break
        chosen.append(batch)
    parts = [find_by_key(store, "part", batch.key, PartFacts) for batch in chosen]
    return [part for part in parts if part is not None]


def _ends_at_or_after(batch: WatermarkBatch, as_of: datetime) -> bool:
    """Check whether a batch's watermark is this time or later; False where it is no time."""
    until = decode_watermark(batch.until)
    if not isinstance(until, date):
        return False
    dtype = pl.Datetime(time_zone="UTC" if getattr(until, "tzinfo", None) else None)
    limit = to_column_time(as_of, dtype if isinstance(until, datetime) else pl.Date())
    return bool(until >= limit)


def _read_new_rows(
    source: SourceConfig,
    table: Table,
    store: Store,
    *,
    stored: list[WatermarkBatch],
    limit: Any,  # noqa: ANN401 - of the column's own type
) -> list[WatermarkBatch]:
    """Read the rows above the last valid batch, up to `limit`, as one more batch."""
    watermark = source.table_watermark or ""
    batches = _drop_changed_batches(table, stored, watermark)
    if limit is None:
        return batches
    after = decode_watermark(batches[-1].until) if batches else None
    if after is not None and after >= limit:
        return batches
    new_rows = RowRange(column=watermark, after=after, until=limit)
    part = _read_part(store, table, new_rows, formats=source.parse)
    if part.facts.rows == 0:
        return batches
    return [
        *batches,
        WatermarkBatch(until=encode_watermark(limit), rows=part.facts.rows, key=part.key),
    ]


def _limit_watermark(newest: Any, dtype: pl.DataType, as_of: datetime | None) -> Any:  # noqa: ANN401
    """Return the watermark to read up to: the newest, or `as_of` where that is earlier."""
    if as_of is None or not isinstance(newest, date):
        return newest
    return min(newest, to_column_time(as_of, dtype))


def _drop_changed_batches(
    table: Table, stored: list[WatermarkBatch], watermark: str
) -> list[WatermarkBatch]:
    """Drop the newest batches until the table has as many rows up to there as were read."""
    batches = list(stored)
    while batches:
        until = decode_watermark(batches[-1].until)
        count = count_rows(table, RowRange(column=watermark, until=until))
        expected = sum(batch.rows for batch in batches)
        if count == expected:
            return batches
        logger().warning(
            "%s has %s rows up to %s = %s, %s were read before: the last of them are read again",
            table.query or table.uri, count, watermark, until, expected,
        )  # fmt: skip
        batches.pop()
    return batches


def _read_part(
    store: Store, table: Table, row_range: RowRange | None, *, formats: Mapping[str, str]
) -> Part:
    """Read the rows of a range, in its column's order, into a part; parse its columns of text."""
    where = table.query or table.uri
    empty = pl.LazyFrame(schema=read_table_schema(table))
    schema = parse_columns(empty, formats, where).collect().to_arrow().schema
    batches = read_batches(table, row_range, order_by=row_range.column if row_range else None)
    if formats:
        batches = _parse_batches(batches, formats, where)
    return make_table_part(store, batches, name=where, schema=schema)


def _parse_batches(
    batches: Iterable[pa.RecordBatch], formats: Mapping[str, str], where: str
) -> Iterator[pa.RecordBatch]:
    """Parse the columns of text of each batch."""
    for batch in batches:
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch is a table
        yield from parse_columns(frame.lazy(), formats, where).collect().to_arrow().to_batches()
