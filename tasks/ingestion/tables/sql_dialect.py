"""What one database has to say for itself, so that `databases` can read it like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import pyarrow as pa

from tasks.errors import SourceError
from tasks.ingestion.tables.row_range import Bound

if TYPE_CHECKING:
    # The drivers come with an extra of the package.
    from adbc_driver_manager.dbapi import Connection, Cursor

Parameters: TypeAlias = tuple[Bound, ...] | None

BATCH_BYTES = 8 * 2**20
"""About the size of one batch; what a read holds in memory is a small multiple of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of what is read."""

    name: str
    expression: str
    """SQL that gives the column as `type`; the table's alias is t."""
    type: pa.DataType
    database_type: str
    order: str
    """SQL to order by."""


class Dialect(Protocol):
    """What differs from one database to the next: a module has these functions."""

    def connect(self, uri: str) -> "Connection":
        """Open a connection that only reads."""

    def begin(self, cursor: "Cursor") -> None:
        """Begin one snapshot for all that follows."""

    def source(self, query: str | None) -> str:
        """Write a name or a SELECT as it stands after FROM."""

    def columns(self, cursor: "Cursor", source: str, query: str | None) -> list[Column]:
        """Describe what is read."""

    def bind(
        self, cursor: "Cursor", column: Column, bounds: Sequence[Bound]
    ) -> tuple[list[str], Parameters]:
        """Return SQL for each bound, and the values to execute with."""

    def stream(
        self,
        cursor: "Cursor",
        source: str,
        sql: str,
        *,
        parameters: Parameters,
        columns: list[Column],
    ) -> Iterator[pa.RecordBatch]:
        """Execute, and return the batches."""

    def explain(
        self, cursor: "Cursor", error: Exception, source: str, columns: list[Column]
    ) -> SourceError:
        """Say in our words what the database said."""

    def names(self, cursor: "Cursor") -> list[str]:
        """List the tables there are."""
