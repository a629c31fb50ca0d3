"""What the module of a database must offer, so that `sql` can read it like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import pyarrow as pa

from tasks.errors import SourceError
from tasks.ingestion.tables.row_range import Bound

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

Parameters: TypeAlias = tuple[Bound, ...] | None

BATCH_BYTES = 8 * 2**20
"""Approximate size of a batch; a read holds a small multiple of it in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of the table or query that is read."""

    name: str
    expression: str
    """SQL of the column's value as `type`; the table's alias is t."""
    type: pa.DataType
    database_type: str
    """The type's name in the database."""
    order: str
    """SQL expression to sort and compare by."""


class Dialect(Protocol):
    """What differs between databases; a module with these functions is a dialect."""

    def connect(self, uri: str) -> "Connection":
        """Open a read-only connection."""

    def begin_snapshot(self, cursor: "Cursor") -> None:
        """Begin the transaction whose snapshot all statements see."""

    def build_relation(self, query: str | None) -> str:
        """Write a table's name or a SELECT so that it can follow FROM."""

    def describe_columns(self, cursor: "Cursor", relation: str, query: str | None) -> list[Column]:
        """Describe the columns of a relation."""

    def bind_values(
        self, cursor: "Cursor", column: Column, bounds: Sequence[Bound]
    ) -> tuple[list[str], Parameters]:
        """Return SQL for each bound, and the parameters to execute the statement with."""

    def stream_batches(
        self,
        cursor: "Cursor",
        relation: str,
        sql: str,
        *,
        parameters: Parameters,
        columns: list[Column],
    ) -> Iterator[pa.RecordBatch]:
        """Execute a SELECT of these columns and stream its batches."""

    def translate_error(
        self, cursor: "Cursor", error: Exception, relation: str, columns: list[Column]
    ) -> SourceError:
        """Build the error to raise for one that the driver raised."""

    def list_tables(self, cursor: "Cursor") -> list[str]:
        """List the tables and views."""
