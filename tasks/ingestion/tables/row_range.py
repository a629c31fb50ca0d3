"""A table, and the rows of it that are read: what the readers of tables share."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import polars as pl

from tasks.errors import SourceError

Kind = Literal["postgresql", "sqlite", "delta", "iceberg"]

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
    """Read the table as it was at this version, told by `table_version` before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The rows with after < column <= until; None leaves a side open.

    A row without a value in the column is in no span that has a bound.
    """

    column: str
    after: Bound | None = None
    until: Bound | None = None


def refuse_unknown(column: str | None, schema: pl.Schema, where: str) -> None:
    """Refuse a column that the table does not have.

    Raises:
        SourceError: there is none of this name.
    """
    if column is not None and column not in schema:
        raise SourceError.of(
            f"{where} has no column '{column}'",
            found=f"Columns: {', '.join(schema) or 'none'}",
            mend=likely(column, schema),
        )


def likely(name: str, names: Iterable[str]) -> str:
    """Suggest what a wrong name may have meant."""
    by_case = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), by_case, n=3)
    if close:
        return "did you mean " + " or ".join(f"'{by_case[found]}'" for found in close) + "?"
    return "correct the name; capitals count"


def fit_bound(value: Bound, dtype: pl.DataType, where: str) -> Bound:
    """Return a span's bound as a value of its column; times without a zone are UTC.

    Raises:
        SourceError: the column cannot be compared with such a value.
    """
    if isinstance(dtype, pl.Datetime) and isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        moment = aware.astimezone(UTC)
        return moment if dtype.time_zone else moment.replace(tzinfo=None)
    fitting = (
        (dtype.is_integer() and type(value) is int)
        or (dtype.is_float() and isinstance(value, int | float) and math.isfinite(value))
        or (dtype.is_decimal() and type(value) in {int, Decimal})
        or (dtype == pl.String and isinstance(value, str))
        or (dtype == pl.Date and type(value) is date)
    )
    if not fitting:
        raise SourceError.of(
            f"{where} is {dtype}, which cannot be compared with {value!r}",
            mend="give a bound of the column's own type, or follow another column",
        )
    return value


def refuse_unordered(column: str, dtype: pl.DataType, where: str) -> None:
    """Refuse to follow a column whose values have no order to go by.

    Raises:
        SourceError: it is neither a number, a text nor a time.
    """
    if not (dtype.is_numeric() or dtype in {pl.String, pl.Date} or isinstance(dtype, pl.Datetime)):
        raise SourceError.of(
            f"{where}: column '{column}' is {dtype}, which is no watermark",
            mend="follow a column of numbers, texts, dates or times",
        )
