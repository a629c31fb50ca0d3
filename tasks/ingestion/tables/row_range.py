"""A table and a range of its rows: what all readers of tables share."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import polars as pl

from tasks.errors import SourceError

TableKind = Literal["postgresql", "sqlite", "delta", "iceberg"]

Bound: TypeAlias = str | int | float | date | datetime | Decimal
"""A value that a column can be compared with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table that is not plain files."""

    uri: str
    """postgresql://user@host:5432/db, sqlite:///file.db, or a Delta or Iceberg table's folder."""
    query: str | None = None
    """What is read of a database: a table's name, or a SELECT."""
    version: str | None = None
    """Read the table at this version, as `read_table_version` returned it; None: the newest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowRange:
    """The rows with after < column <= until; None leaves a side open.

    A row with a null in the column is in no range that has a bound.
    """

    column: str
    after: Bound | None = None
    until: Bound | None = None


def check_column_exists(column: str | None, schema: pl.Schema, where: str) -> None:
    """Check that the table has a column; None passes.

    Raises:
        SourceError: it does not.
    """
    if column is not None and column not in schema:
        raise SourceError.of(
            f"{where} has no column '{column}'",
            found=f"Columns: {', '.join(schema) or 'none'}",
            hint=suggest_name(column, schema),
        )


def suggest_name(name: str, names: Iterable[str]) -> str:
    """Return a hint for an unknown name: the most similar known names, if any."""
    by_case = {known.casefold(): known for known in names}
    similar = difflib.get_close_matches(name.casefold(), by_case, n=3)
    if similar:
        return "did you mean " + " or ".join(f"'{by_case[key]}'" for key in similar) + "?"
    return "correct the name; it is case-sensitive"


def convert_bound(value: Bound, dtype: pl.DataType, where: str) -> Bound:
    """Return a range's bound as a value of its column's type; times without a zone are UTC.

    Raises:
        SourceError: the column cannot be compared with a value of this type.
    """
    if isinstance(dtype, pl.Datetime) and isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        utc = aware.astimezone(UTC)
        return utc if dtype.time_zone else utc.replace(tzinfo=None)
    comparable = (
        (dtype.is_integer() and type(value) is int)
        or (dtype.is_float() and isinstance(value, int | float) and math.isfinite(value))
        or (dtype.is_decimal() and type(value) in {int, Decimal})
        or (dtype == pl.String and isinstance(value, str))
        or (dtype == pl.Date and type(value) is date)
    )
    if not comparable:
        raise SourceError.of(
            f"{where} is {dtype}, which cannot be compared with {value!r}",
            hint="give a bound of the column's own type, or use another column",
        )
    return value


def check_column_orderable(column: str, dtype: pl.DataType, where: str) -> None:
    """Check that a column has numbers, texts, dates or times, so that it can be a watermark.

    Raises:
        SourceError: it does not.
    """
    if not (dtype.is_numeric() or dtype in {pl.String, pl.Date} or isinstance(dtype, pl.Datetime)):
        raise SourceError.of(
            f"{where}: column '{column}' is {dtype}, which cannot be a watermark",
            hint="use a column of numbers, texts, dates or times",
        )
