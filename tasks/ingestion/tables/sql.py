"""Read a database's table as a stream of Arrow batches, in one read-only snapshot, through ADBC.

Every column is selected by an expression of exactly the type in its schema, so that all batches
have the same types; a value that cannot be represented stops the read with the column's name.
Values are bound as parameters, never formatted into SQL. The database filters and sorts: ties are
sorted by the other columns, so that the order is reproducible except among equal rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from tasks.errors import SourceError
from tasks.ingestion.tables.row_range import (
    Bound,
    RowRange,
    Table,
    TableKind,
    check_column_exists,
    check_column_orderable,
    convert_bound,
)
from tasks.ingestion.tables.sql_dialect import Column, Dialect, Parameters
from tasks.ingestion.tables.sql_query import quote_name, shorten_query

if TYPE_CHECKING:
    # Imported when a database is read only, as are the dialects: drivers are slow to import.
    from adbc_driver_manager.dbapi import Cursor


@dataclass(frozen=True, slots=True)
class _Session:
    """An open transaction of a database, and the relation that is read in it."""

    dialect: Dialect
    cursor: "Cursor"
    relation: str
    columns: list[Column]
    where: str
    """The relation, for messages."""

    @property
    def schema(self) -> pl.Schema:
        """The columns' Polars types."""
        return _to_polars_schema(self.columns)

    def find_column(self, name: str) -> Column:
        """Return a column by its name.

        Raises:
            SourceError: there is none.
        """
        check_column_exists(name, self.schema, self.where)
        return next(column for column in self.columns if column.name == name)

    def stream_batches(
        self, sql: str, parameters: Parameters, columns: list[Column]
    ) -> Iterator[pa.RecordBatch]:
        """Stream the batches of a SELECT of these columns, cast to the columns' types."""
        for batch in self.dialect.stream_batches(
            self.cursor, self.relation, sql, parameters=parameters, columns=columns
        ):
            if batch.num_rows:
                yield _cast_batch(batch, columns)


def read_version(table: Table, kind: TableKind) -> None:
    """Return None: a database has no versions."""


def read_schema(table: Table, kind: TableKind) -> pl.Schema:
    """Return the columns and their types, without reading rows."""
    with _open_session(table, kind) as opened:
        return opened.schema


def count_rows(table: Table, kind: TableKind, row_range: RowRange | None) -> int:
    """Count the rows of a range in the database."""
    with _open_session(table, kind) as opened:
        clause, parameters = _build_from_clause(opened, row_range)
        opened.cursor.execute(f"SELECT count(*) FROM {clause}", parameters=parameters)  # noqa: S608
        return int(opened.cursor.fetchall()[0][0])


def find_newest(table: Table, kind: TableKind, column: str) -> Bound | None:
    """Return the largest value of a column, NaN excepted; None where it has none."""
    with _open_session(table, kind) as opened:
        described = opened.find_column(column)
        check_column_orderable(column, opened.schema[column], opened.where)
        ref, alias = f"t.{quote_name(column)}", quote_name(column)
        # PostgreSQL sorts NaN above all numbers; in SQLite no number equals this text.
        not_nan = f" AND {ref} <> 'NaN'" if pa.types.is_floating(described.type) else ""
        largest = (
            f"SELECT {ref} AS {alias} FROM {opened.relation} AS t"  # noqa: S608
            f" WHERE {ref} IS NOT NULL{not_nan} ORDER BY {described.order} DESC LIMIT 1"
        )
        sql = f"SELECT {described.expression} AS {alias} FROM ({largest}) AS t"  # noqa: S608
        batches = list(opened.stream_batches(sql, None, [described]))
        return _to_python_value(batches[0].column(0)[0], opened.where) if batches else None


def read_batches(
    table: Table, kind: TableKind, row_range: RowRange | None, order_by: str | None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a range; the columns in the order of the relation."""
    with _open_session(table, kind) as opened:
        clause, parameters = _build_from_clause(opened, row_range)
        if order_by is not None:
            clause += f" ORDER BY {_build_order_clause(opened, row_range, order_by)}"
        columns = opened.columns
        selected = ", ".join(
            f"{column.expression} AS {quote_name(column.name)}" for column in columns
        )
        sql = f"SELECT {selected} FROM {clause}"  # noqa: S608
        yield from opened.stream_batches(sql, parameters, columns)


def _to_polars_schema(columns: list[Column]) -> pl.Schema:
    """Return the columns' Polars types."""
    empty = pa.schema([(column.name, column.type) for column in columns]).empty_table()
    return pl.DataFrame(empty).schema


def _choose_dialect(kind: TableKind) -> Dialect:
    """Import the module of a database."""
    if kind == "postgresql":
        from tasks.ingestion.tables import postgresql

        return postgresql
    from tasks.ingestion.tables import sqlite

    return sqlite


@contextmanager
def _open_session(table: Table, kind: TableKind) -> Iterator[_Session]:
    """Open a snapshot of the database and describe the relation that is read.

    Raises:
        SourceDownError: the database cannot be reached.
        SourceError: it cannot be read.
    """
    dialect = _choose_dialect(kind)
    from adbc_driver_manager import Error

    relation = dialect.build_relation(table.query)
    where = f"{table.uri}: {shorten_query(table.query)}"
    columns: list[Column] = []
    connection = dialect.connect(table.uri)
    cursor = connection.cursor()
    try:
        dialect.begin_snapshot(cursor)
        columns = dialect.describe_columns(cursor, relation, table.query)
        _check_column_names(columns, where)
        yield _Session(dialect, cursor, relation, columns, where)
    except (Error, OSError, pa.ArrowException) as error:
        raise dialect.translate_error(cursor, error, relation, columns) from error
    finally:
        for end in (cursor.close, connection.close):
            # The read has raised its own error already; a lost connection cannot be closed.
            with suppress(Error):
                end()


def _check_column_names(columns: list[Column], where: str) -> None:
    """Check that there are columns and that their names are unique.

    Raises:
        SourceError: there is no column, or two have the same name.
    """
    names = [column.name for column in columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated or "" in names:
        raise SourceError.of(
            f"{where}: " + (f"two columns are named '{repeated[0]}'" if repeated else "no column"),
            found=f"Columns: {names}",
            hint="name each column once in the SELECT, with AS",
        )


def _build_from_clause(opened: _Session, row_range: RowRange | None) -> tuple[str, Parameters]:
    """Write relation and range as SQL after FROM, with the parameters to bind."""
    clause = f"{opened.relation} AS t"
    if row_range is None or (row_range.after is None and row_range.until is None):
        if row_range is not None:
            opened.find_column(row_range.column)
        return clause, None
    column = opened.find_column(row_range.column)
    where = f"{opened.where}: column '{column.name}'"
    dtype = opened.schema[column.name]
    limits = [
        (operator, convert_bound(bound, dtype, where))
        for operator, bound in ((">", row_range.after), ("<=", row_range.until))
        if bound is not None
    ]
    bounds, parameters = opened.dialect.bind_values(
        opened.cursor, column, [bound for _, bound in limits]
    )
    conditions = [
        f"{column.order} {operator} {bound}"
        for (operator, _), bound in zip(limits, bounds, strict=True)
    ]
    return f"{clause} WHERE {' AND '.join(conditions)}", parameters


def _to_python_value(value: pa.Scalar, where: str) -> Bound:
    """Convert an Arrow value to a Python value.

    Raises:
        SourceError: it is a time before the year 1 or after 9999.
    """
    try:
        converted: Bound = value.as_py()
    except (OverflowError, ValueError) as error:
        raise SourceError.of(
            f"{where}: the newest value is outside of the years 1 to 9999: {error}",
            hint="correct it, or exclude it by a SELECT",
        ) from error
    return converted


def _build_order_clause(opened: _Session, row_range: RowRange | None, order_by: str) -> str:
    """Write the sort keys after ORDER BY: the column, then all others to break ties."""
    first = opened.find_column(order_by)
    check_column_orderable(order_by, opened.schema[order_by], opened.where)
    bounded = row_range is not None and (row_range.after is not None or row_range.until is not None)
    # Only where there can be nulls: an index that sorts them last could not be used.
    nulls = "" if bounded and row_range and row_range.column == order_by else " NULLS FIRST"
    others = [column.order for column in opened.columns if column.name != order_by]
    return ", ".join([f"{first.order}{nulls}", *others])


def _cast_batch(batch: pa.RecordBatch, columns: list[Column]) -> pa.RecordBatch:
    """Cast a batch to the columns' types.

    Raises:
        SourceError: a value does not fit, or is no valid UTF-8.
    """
    arrays = []
    for array, column in zip(batch.columns, columns, strict=True):
        storage = array.storage if isinstance(array, pa.ExtensionArray) else array
        try:
            storage.validate(full=True)
            arrays.append(storage if storage.type == column.type else storage.cast(column.type))
        except pa.ArrowInvalid as error:
            raise SourceError.of(
                f"column '{column.name}' cannot be read as {column.type}: {error}",
                found=f"The database calls it {column.database_type}.",
                hint="bring it to one type in the SELECT, with CAST",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
