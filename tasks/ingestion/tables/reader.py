"""Read tables that are not plain files: databases, and Delta Lake and Iceberg tables.

Whatever a table's size, only a few batches of it are in memory; see `sql` and `lakehouse`.
"""

import re
from collections.abc import Iterator
from typing import Protocol

import polars as pl
import pyarrow as pa

from tasks.errors import SourceError
from tasks.ingestion.tables import lakehouse, sql
from tasks.ingestion.tables.row_range import Bound, RowRange, Table, TableKind
from tasks.redaction import HINT, holds_secret

__all__ = [
    "RowRange",
    "Table",
    "count_rows",
    "detect_table_kind",
    "find_newest",
    "read_batches",
    "read_table_schema",
    "read_table_version",
]

_DATABASES: dict[str, TableKind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
}


# A glob or a file name: no need to look for a table's folder there.
_FILE_NAME = re.compile(r"[*?\[]|\.(parquet|pq|csv|jsonl|ndjson)$", re.IGNORECASE)


class TableReader(Protocol):
    """The functions that the modules `sql` and `lakehouse` both have."""

    def read_version(self, table: Table, kind: TableKind) -> str | None:
        """Return the version that a read would find; None where there are no versions."""

    def read_schema(self, table: Table, kind: TableKind) -> pl.Schema:
        """Return the columns and their types."""

    def count_rows(self, table: Table, kind: TableKind, row_range: RowRange | None) -> int:
        """Count the rows of a range; all rows for None."""

    def find_newest(self, table: Table, kind: TableKind, column: str) -> Bound | None:
        """Return the largest value of a column; None where it has none."""

    def read_batches(
        self, table: Table, kind: TableKind, row_range: RowRange | None, order_by: str | None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of a range; all rows for None."""


def detect_table_kind(uri: str) -> TableKind | None:
    """Return the kind of the table at a URI; None for plain files.

    Raises:
        SourceError: the URI holds a password, or the storage cannot be read.
    """
    _check_no_secret(uri)
    scheme = uri.partition("://")[0]
    if scheme in _DATABASES:
        return _DATABASES[scheme]
    if _FILE_NAME.search(uri):
        return None
    return lakehouse.detect_lakehouse_table(uri)


def read_table_version(table: Table) -> str | None:
    """Return the version of the table that a read would find; None for a database."""
    reader, kind = _choose_reader(table)
    return reader.read_version(table, kind)


def read_table_schema(table: Table) -> pl.Schema:
    """Return the columns and their types, without reading rows."""
    reader, kind = _choose_reader(table)
    return reader.read_schema(table, kind)


def count_rows(table: Table, row_range: RowRange | None) -> int:
    """Count the rows of a range, or all rows, without reading them."""
    reader, kind = _choose_reader(table)
    return reader.count_rows(table, kind, row_range)


def find_newest(table: Table, column: str) -> Bound | None:
    """Return the largest value of a column, NaN excepted; None where it has none."""
    reader, kind = _choose_reader(table)
    return reader.find_newest(table, kind, column)


def read_batches(
    table: Table, row_range: RowRange | None, *, order_by: str | None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a range, sorted by `order_by` with nulls first, or in any order.

    Raises:
        SourceDownError: the database or storage cannot be reached.
        SourceError: the table cannot be read.
    """
    reader, kind = _choose_reader(table)
    return reader.read_batches(table, kind, row_range, order_by)


def _check_no_secret(uri: str) -> None:
    """Check for a secret in the URI, which logs and MLflow would show to everyone.

    Raises:
        SourceError: the URI holds one.
    """
    if holds_secret(uri):
        raise SourceError.of("source.uri holds a password or a token", hint=HINT)


def _choose_reader(table: Table) -> tuple[TableReader, TableKind]:
    """Choose the module that reads a table.

    Raises:
        SourceError: it is no table, or has a version or a query that its kind does not support.
    """
    kind = detect_table_kind(table.uri)
    if kind is None:
        raise SourceError.of(
            f"source.uri: '{table.uri}' is no table",
            hint="name a database, or the folder of a Delta or Iceberg table",
        )
    if kind in _DATABASES.values():
        if table.version is not None:
            raise SourceError.of(
                f"{table.uri}: a database has no version '{table.version}'",
                hint="read it without a version",
            )
        return sql, kind
    if table.query is not None:
        raise SourceError.of(
            f"source.query: {table.uri} is a {kind} table, which cannot be queried",
            hint="remove source.query",
        )
    return lakehouse, kind
