"""Tables that are not plain files: databases, and the table formats of data lakes.

Whatever the table's size, a read holds a few batches of it; see `databases` and `lakes` for how.
"""

import re
from collections.abc import Iterator
from typing import Protocol

import polars as pl
import pyarrow as pa

from tasks.errors import SourceError
from tasks.ingestion.tables import lakehouse, sql
from tasks.ingestion.tables.row_range import Bound, Kind, Span, Table
from tasks.redaction import MEND, holds_secret

__all__ = [
    "Span",
    "Table",
    "count_rows",
    "newest",
    "read_batches",
    "table_kind",
    "table_schema",
    "table_version",
]

SCHEMES: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
}


# A glob or a file by its name: no need to look whether it is a table's folder.
PLAIN = re.compile(r"[*?\[]|\.(parquet|pq|csv|jsonl|ndjson)$", re.IGNORECASE)


class Reader(Protocol):
    """What `databases` and `lakes` both have."""

    def version(self, table: Table, kind: Kind) -> str | None:
        """Tell the version that a read would find."""

    def schema(self, table: Table, kind: Kind) -> pl.Schema:
        """Tell the columns and their types."""

    def count(self, table: Table, kind: Kind, span: Span | None) -> int:
        """Count the rows of a span."""

    def newest(self, table: Table, kind: Kind, column: str) -> Bound | None:
        """Find the largest value of a column."""

    def read(
        self, table: Table, kind: Kind, span: Span | None, order_by: str | None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of a span."""


def table_kind(uri: str) -> Kind | None:
    """Tell what kind of table lies at a URI; None for plain files.

    Raises:
        SourceError: the URI holds a password, or one cannot look there.
    """
    refuse_password(uri)
    scheme = uri.partition("://")[0]
    if scheme in SCHEMES:
        return SCHEMES[scheme]
    if PLAIN.search(uri):
        return None
    return lakehouse.lake_at(uri)


def refuse_password(uri: str) -> None:
    """Refuse a secret where logs and MLflow would show it to everyone.

    Raises:
        SourceError: the URI holds one.
    """
    if holds_secret(uri):
        raise SourceError.of("source.uri holds a password or a token", mend=MEND)


def reader_of(table: Table) -> tuple[Reader, Kind]:
    """Choose how a table is read.

    Raises:
        SourceError: it is no table, or is asked what it cannot answer.
    """
    kind = table_kind(table.uri)
    if kind is None:
        raise SourceError.of(
            f"source.uri: '{table.uri}' is no table",
            mend="name a database, or the folder of a Delta or Iceberg table",
        )
    if kind in SCHEMES.values():
        if table.version is not None:
            raise SourceError.of(
                f"{table.uri}: a database keeps no version '{table.version}' to go back to",
                mend="read it without a version",
            )
        return sql, kind
    if table.query is not None:
        raise SourceError.of(
            f"source.query: {table.uri} is a {kind} table, which answers no query",
            mend="take source.query out",
        )
    return lakehouse, kind


def table_version(table: Table) -> str | None:
    """Tell which version of the table a read would find; None for databases, which keep none."""
    reader, kind = reader_of(table)
    return reader.version(table, kind)


def table_schema(table: Table) -> pl.Schema:
    """Tell the columns and their types, with no row read."""
    reader, kind = reader_of(table)
    return reader.schema(table, kind)


def count_rows(table: Table, span: Span | None) -> int:
    """Count the rows of a span where they lie."""
    reader, kind = reader_of(table)
    return reader.count(table, kind, span)


def newest(table: Table, column: str) -> Bound | None:
    """Find the largest value of a column; None where it has none. NaN does not count."""
    reader, kind = reader_of(table)
    return reader.newest(table, kind, column)


def read_batches(
    table: Table, span: Span | None, *, order_by: str | None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a span, in the order of a column where one is named, gaps first.

    Raises:
        SourceError: the table cannot be read; a SourceDownError where that may pass.
    """
    reader, kind = reader_of(table)
    return reader.read(table, kind, span, order_by)
