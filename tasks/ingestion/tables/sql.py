"""Read a database's table as a stream of Arrow batches, in one read-only snapshot, through ADBC.

Every column is written out as an expression that gives exactly the type its schema says, so that
no batch can differ from another; what cannot be given so stops the read with the column's name.
Values are bound, never pasted into SQL. The database does the filtering and the sorting: rows with
the same place in the order come in the order of their other columns, so the order is always the
same as far as rows can be told apart.
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
    Kind,
    Span,
    Table,
    fit_bound,
    refuse_unknown,
    refuse_unordered,
)
from tasks.ingestion.tables.sql_dialect import Column, Dialect, Parameters
from tasks.ingestion.tables.sql_query import quote, shortened

if TYPE_CHECKING:
    # The drivers come with an extra of the package.
    from adbc_driver_manager.dbapi import Cursor


@dataclass(frozen=True, slots=True)
class Session:
    """One open snapshot of a database."""

    dialect: Dialect
    cursor: "Cursor"
    source: str
    columns: list[Column]
    where: str
    """What is read, in words for messages."""

    @property
    def schema(self) -> pl.Schema:
        """Give the columns' types as Polars has them."""
        return arrow_to_polars(self.columns)

    def column(self, name: str) -> Column:
        """Find a column by its name.

        Raises:
            SourceError: there is none.
        """
        refuse_unknown(name, self.schema, self.where)
        return next(column for column in self.columns if column.name == name)

    def rows(
        self, sql: str, parameters: Parameters, columns: list[Column]
    ) -> Iterator[pa.RecordBatch]:
        """Stream what a SELECT of these columns gives, in the types that they say."""
        for batch in self.dialect.stream(
            self.cursor, self.source, sql, parameters=parameters, columns=columns
        ):
            if batch.num_rows:
                yield fit(batch, columns)


def arrow_to_polars(columns: list[Column]) -> pl.Schema:
    """Give the columns' types as Polars has them."""
    empty = pa.schema([(column.name, column.type) for column in columns]).empty_table()
    return pl.DataFrame(empty).schema


def dialect_of(kind: Kind) -> Dialect:
    """Choose how to speak to a database."""
    if kind == "postgresql":
        from tasks.ingestion.tables import postgresql

        return postgresql
    from tasks.ingestion.tables import sqlite

    return sqlite


@contextmanager
def session(table: Table, kind: Kind) -> Iterator[Session]:
    """Open one snapshot of the database, and look at what is to be read.

    Raises:
        SourceError: it cannot be read; a SourceDownError where that may pass.
    """
    dialect = dialect_of(kind)
    from adbc_driver_manager import Error

    source = dialect.source(table.query)
    where = f"{table.uri}: {shortened(table.query)}"
    columns: list[Column] = []
    connection = dialect.connect(table.uri)
    cursor = connection.cursor()
    try:
        dialect.begin(cursor)
        columns = dialect.columns(cursor, source, table.query)
        refuse_odd_names(columns, where)
        yield Session(dialect, cursor, source, columns, where)
    except (Error, OSError, pa.ArrowException) as error:
        raise dialect.explain(cursor, error, source, columns) from error
    finally:
        for end in (cursor.close, connection.close):
            # The read has said what there is to say; a connection that is gone cannot be closed.
            with suppress(Error):
                end()


def refuse_odd_names(columns: list[Column], where: str) -> None:
    """Refuse what is not a table with one name a column.

    Raises:
        SourceError: there is no column, or two have one name.
    """
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice or "" in names:
        raise SourceError.of(
            f"{where}: " + (f"two columns are named '{twice[0]}'" if twice else "no column"),
            found=f"Columns: {names}",
            mend="name each column once in the SELECT, with AS",
        )


def filtered(opened: Session, span: Span | None) -> tuple[str, Parameters]:
    """Write the span as SQL after FROM, with the values to bind."""
    text = f"{opened.source} AS t"
    if span is None or (span.after is None and span.until is None):
        if span is not None:
            opened.column(span.column)
        return text, None
    column = opened.column(span.column)
    where = f"{opened.where}: column '{column.name}'"
    dtype = opened.schema[column.name]
    pairs = [
        (sign, fit_bound(bound, dtype, where))
        for sign, bound in ((">", span.after), ("<=", span.until))
        if bound is not None
    ]
    bounds, parameters = opened.dialect.bind(opened.cursor, column, [bound for _, bound in pairs])
    rules = [
        f"{column.order} {sign} {bound}" for (sign, _), bound in zip(pairs, bounds, strict=True)
    ]
    return f"{text} WHERE {' AND '.join(rules)}", parameters


def version(table: Table, kind: Kind) -> None:
    """A database keeps no versions."""  # noqa: D401 -- it says what there is not


def schema(table: Table, kind: Kind) -> pl.Schema:
    """Tell the columns and their types, with no row read."""
    with session(table, kind) as opened:
        return opened.schema


def count(table: Table, kind: Kind, span: Span | None) -> int:
    """Let the database count the rows of a span."""
    with session(table, kind) as opened:
        text, parameters = filtered(opened, span)
        opened.cursor.execute(f"SELECT count(*) FROM {text}", parameters=parameters)  # noqa: S608
        return int(opened.cursor.fetchall()[0][0])


def newest(table: Table, kind: Kind, column: str) -> Bound | None:
    """Let the database find the largest value of a column; None where it has none."""
    with session(table, kind) as opened:
        found = opened.column(column)
        refuse_unordered(column, opened.schema[column], opened.where)
        ref, alias = f"t.{quote(column)}", quote(column)
        # PostgreSQL holds NaN for the largest number; in SQLite no number equals this text.
        number = f" AND {ref} <> 'NaN'" if pa.types.is_floating(found.type) else ""
        largest = (
            f"SELECT {ref} AS {alias} FROM {opened.source} AS t"  # noqa: S608
            f" WHERE {ref} IS NOT NULL{number} ORDER BY {found.order} DESC LIMIT 1"
        )
        sql = f"SELECT {found.expression} AS {alias} FROM ({largest}) AS t"  # noqa: S608
        batches = list(opened.rows(sql, None, [found]))
        return plain_value(batches[0].column(0)[0], opened.where) if batches else None


def plain_value(value: pa.Scalar, where: str) -> Bound:
    """Give a value as Python has it.

    Raises:
        SourceError: it is a time before the year 1 or after 9999.
    """
    try:
        found: Bound = value.as_py()
    except (OverflowError, ValueError) as error:
        raise SourceError.of(
            f"{where}: the newest value lies outside of the years 1 to 9999: {error}",
            mend="mend it, or leave it out in a SELECT",
        ) from error
    return found


def read(
    table: Table, kind: Kind, span: Span | None, order_by: str | None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a span."""
    with session(table, kind) as opened:
        text, parameters = filtered(opened, span)
        if order_by is not None:
            text += f" ORDER BY {ordered(opened, span, order_by)}"
        columns = opened.columns
        picked = ", ".join(f"{column.expression} AS {quote(column.name)}" for column in columns)
        sql = f"SELECT {picked} FROM {text}"  # noqa: S608
        yield from opened.rows(sql, parameters, columns)


def ordered(opened: Session, span: Span | None, order_by: str) -> str:
    """Write what the rows are ordered by: the column, then all others, to break ties."""
    first = opened.column(order_by)
    refuse_unordered(order_by, opened.schema[order_by], opened.where)
    bounded = span is not None and (span.after is not None or span.until is not None)
    # Said only where there can be gaps: an index that has them last would not be used.
    gaps = "" if bounded and span and span.column == order_by else " NULLS FIRST"
    others = [column.order for column in opened.columns if column.name != order_by]
    return ", ".join([f"{first.order}{gaps}", *others])


def fit(batch: pa.RecordBatch, columns: list[Column]) -> pa.RecordBatch:
    """Give a batch the types that the schema said, and refuse what is not text."""
    arrays = []
    for array, column in zip(batch.columns, columns, strict=True):
        plain = array.storage if isinstance(array, pa.ExtensionArray) else array
        try:
            plain.validate(full=True)
            arrays.append(plain if plain.type == column.type else plain.cast(column.type))
        except pa.ArrowInvalid as error:
            raise SourceError.of(
                f"column '{column.name}' cannot be read as {column.type}: {error}",
                found=f"The database calls it {column.database_type}.",
                mend="bring it to one type in the SELECT, with CAST",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
