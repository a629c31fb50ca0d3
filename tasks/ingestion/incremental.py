"""What is read of a table: only the rows above the last watermark, as a part of their own.

That the rows already read are still the same is checked by their count. Where the count differs
(late rows, a rewritten past), the newest readings are given up until it fits, and read again.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from tasks.dataset.rowset import bound
from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.parts import part_of_batches
from tasks.ingestion.source_state import Reading, Trail, decode, encode
from tasks.ingestion.tables.reader import (
    Span,
    Table,
    count_rows,
    newest,
    read_batches,
    table_schema,
    table_version,
)
from tasks.records import Artifact
from tasks.storage.artifacts import find_key
from tasks.storage.store import Store
from tasks.task_options import logger


def table_parts(
    source: SourceConfig, store: Store, trail: Trail, *, as_of: datetime | None
) -> list[Artifact]:
    """Return the parts that hold a table's rows, and note in the trail what was read.

    Raises:
        SourceError: the table cannot be read, or lacks the column of the watermark.
    """
    version = table_version(source.table())
    table = source.table(version)
    known = kept_readings(store, trail, table)
    whole = len(known) == len(trail.readings)
    if version is not None and version == trail.version and known and whole:
        return parts_of(store, known, as_of)
    order, trail.version = source.order, None
    if order is None:
        part = read_part(store, table, None)
        trail.readings = [Reading(until=encode(""), rows=part.facts["rows"], key=part.key)]
        trail.version = version
        return parts_of(store, trail.readings, None)
    refuse_missing(table, order)
    top = newest(table, order)
    limit = lowered(top, table_schema(table)[order], as_of)
    tell_without(table, order, top)
    trail.readings = read_new(table, store, known, order=order, limit=limit)
    if limit == top:
        trail.version = version
    return parts_of(store, trail.readings, as_of)


def tell_without(table: Table, order: str, top: Any) -> None:  # noqa: ANN401 - its type
    """Warn of rows without a watermark: nobody can tell when they came, so they are not read."""
    if top is None:
        return
    without = count_rows(table, None) - count_rows(table, Span(column=order, until=top))
    if without:
        logger().warning(
            "%s row(s) of %s have no '%s' and are left out; give them one, or set source.watermark",
            without, table.query or table.uri, order,
        )  # fmt: skip


def refuse_missing(table: Table, order: str) -> None:
    """Refuse a watermark that the table does not have.

    Raises:
        SourceError: names the table's columns.
    """
    schema = table_schema(table)
    if order not in schema:
        raise SourceError.of(
            f"source.watermark or source.time: {table.uri} has no column '{order}'",
            found=f"Columns: {', '.join(schema.names())}",
            mend="correct the name",
        )


def kept_readings(store: Store, trail: Trail, table: Table) -> list[Reading]:
    """Give the readings up to the first whose part is gone, or has other columns than the table."""
    columns = {name: str(dtype) for name, dtype in table_schema(table).items()}
    same, trail.columns = trail.columns == columns, columns
    kept: list[Reading] = []
    for reading in trail.readings if same else []:
        if find_key(store, "part", reading.key) is None:
            break
        kept.append(reading)
    return kept


def parts_of(store: Store, readings: Sequence[Reading], as_of: datetime | None) -> list[Artifact]:
    """Find the parts of readings, without those that begin after the time asked for."""
    chosen = []
    for place, reading in enumerate(readings):
        if place and as_of is not None and begins_after(readings[place - 1], as_of):
            break
        chosen.append(reading)
    parts = [find_key(store, "part", reading.key) for reading in chosen]
    return [part for part in parts if part is not None]


def begins_after(previous: Reading, as_of: datetime) -> bool:
    """Tell whether the reading before ended at this time or later."""
    until = decode(previous.until)
    if not isinstance(until, date):
        return False
    dtype = pl.Datetime(time_zone="UTC" if getattr(until, "tzinfo", None) else None)
    limit = bound(as_of, dtype if isinstance(until, datetime) else pl.Date())
    return bool(until >= limit)


def read_new(
    table: Table,
    store: Store,
    known: list[Reading],
    *,
    order: str,
    limit: Any,  # noqa: ANN401 - of the column's own type
) -> list[Reading]:
    """Read the rows above the last watermark, and anew what no longer has the rows it had."""
    readings = still_true(table, known, order)
    if limit is None:
        return readings
    after = decode(readings[-1].until) if readings else None
    if after is not None and after >= limit:
        return readings
    span = Span(column=order, after=after, until=limit)
    part = read_part(store, table, span)
    if part.facts["rows"] == 0:
        return readings
    return [*readings, Reading(until=encode(limit), rows=part.facts["rows"], key=part.key)]


def lowered(top: Any, dtype: pl.DataType, as_of: datetime | None) -> Any:  # noqa: ANN401
    """Give the watermark up to which is read: the newest, and not above the time asked for."""
    if as_of is None or not isinstance(top, date):
        return top
    return min(top, bound(as_of, dtype))


def still_true(table: Table, known: list[Reading], order: str) -> list[Reading]:
    """Give up the newest readings until the table has as many rows up to there as were read."""
    readings = list(known)
    while readings:
        until = decode(readings[-1].until)
        now = count_rows(table, Span(column=order, until=until))
        if now == sum(reading.rows for reading in readings):
            return readings
        logger().warning(
            "%s has %s rows up to %s = %s, %s were read before: the last of them are read again",
            table.query or table.uri, now, order, until, sum(r.rows for r in readings),
        )  # fmt: skip
        readings.pop()
    return readings


def read_part(store: Store, table: Table, span: Span | None) -> Artifact:
    """Read rows into a part."""
    schema = pl.DataFrame(schema=table_schema(table)).to_arrow().schema
    batches = read_batches(table, span, order_by=span.column if span else None)
    return part_of_batches(store, batches, name=table.query or table.uri, schema=schema)
