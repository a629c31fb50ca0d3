"""Great Expectations' checks of single values as Polars expressions.

Each check gives, for the present values of a column, what GX's pandas provider of the same metric
gives. What has no equal here (a column type, a pattern, a bound of another type) is refused with
`UnsupportedError`, so that the caller can ask GX's own engine instead.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from data_contracts.engine.regex import UntranslatableError, to_rust

Kwargs = Mapping[str, Any]


class UnsupportedError(ValueError):
    """A metric, on such a column, has no equal in Polars."""


def refuse_nested(dtype: pl.DataType, what: str) -> None:
    """Refuse lists, structs and objects, whose equality GX cannot tell either."""
    if dtype.is_nested() or dtype == pl.Object:
        raise UnsupportedError(f"{what} of {dtype}")


def in_set(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values that are listed; nothing is asked when there is no list."""
    listed = kwargs.get("value_set")
    if listed is None:
        return pl.lit(value=True)
    return values.is_in(pl.Series(comparable(listed, dtype), dtype=dtype).implode())


def not_in_set(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values that are not listed."""
    if kwargs.get("value_set") is None:
        return pl.lit(value=True)
    return ~in_set(values, dtype, kwargs)


def comparable(listed: Sequence[Any], dtype: pl.DataType) -> list[Any]:
    """Keep the listed values that can equal one of this type, as this type.

    Raises:
        UnsupportedError: equality of these types is GX's own matter.
    """
    if dtype == pl.String:
        return [value for value in listed if isinstance(value, str)]
    if dtype.is_integer() or dtype.is_float():
        numbers = [number for number in listed if isinstance(number, (int, float))]
        if dtype.is_float():
            return [float(number) for number in numbers if number == number]  # noqa: PLR0124 - NaN
        low, high = integer_range(dtype)
        return [int(n) for n in numbers if low <= n <= high and n == int(n)]
    if dtype == pl.Boolean and all(isinstance(value, bool) for value in listed):
        return list(listed)
    if dtype == pl.Date and all(type(value) is date for value in listed):
        return list(listed)
    raise UnsupportedError(f"a set of values for {dtype}")


def integer_range(dtype: pl.DataType) -> tuple[int, int]:
    """Give the smallest and the largest number of an integer type."""
    bits = int(str(dtype).removeprefix("U").removeprefix("Int"))
    if dtype.is_signed_integer():
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def between(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values inside the bounds, of which one may be open."""
    low, high = bound(kwargs.get("min_value"), dtype), bound(kwargs.get("max_value"), dtype)
    if isinstance(dtype, pl.Datetime):
        values, (low, high) = ticks(values, dtype), (tick(each, dtype) for each in (low, high))
    return within(values, low, high, kwargs)


def ticks(values: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    """Count microseconds, or nanoseconds where the column has them; Polars would round those."""
    return (values.cast(pl.Datetime("us")) if dtype.time_unit == "ms" else values).to_physical()


def tick(at: datetime | None, dtype: pl.Datetime) -> int | None:
    """Count the same for a bound, as near as 64 bits come to it."""
    if at is None:
        return None
    count = (at - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001 - as the column
    largest = 2**63 - 1
    return max(-largest, min(largest, count * (1000 if dtype.time_unit == "ns" else 1)))


def within(values: pl.Expr, low: Any, high: Any, kwargs: Kwargs) -> pl.Expr:  # noqa: ANN401
    """Compare with bounds that are checked.

    Raises:
        UnsupportedError: there is no bound, or they are the wrong way round.
    """
    if low is None and high is None:
        raise UnsupportedError("no bound at all")
    if low is not None and high is not None and low > high:
        raise UnsupportedError("a min_value above the max_value")
    kept = pl.lit(value=True)
    if low is not None:
        kept &= values > pl.lit(low) if kwargs.get("strict_min") else values >= pl.lit(low)
    if high is not None:
        kept &= values < pl.lit(high) if kwargs.get("strict_max") else values <= pl.lit(high)
    return kept


def bound(value: Any, dtype: pl.DataType) -> Any:  # noqa: ANN401 - of the column's own type
    """Read a bound as the column's type.

    Raises:
        UnsupportedError: the two cannot be compared here.
    """
    if value is None:
        return None
    if dtype.is_integer() or dtype.is_float() or dtype.is_decimal():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UnsupportedError(f"the bound {value!r} for {dtype}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return float(value)
        return value
    if dtype == pl.String and isinstance(value, str):
        return value
    if isinstance(dtype, pl.Date | pl.Datetime) and isinstance(value, str | date):
        return moment(value, dtype)
    raise UnsupportedError(f"the bound {value!r} for {dtype}")


def moment(value: str | date, dtype: pl.Date | pl.Datetime) -> date:
    """Read a date or a time without a zone, for a column that has none either."""
    from dateutil import parser

    try:
        parsed = parser.parse(value) if isinstance(value, str) else value
    except (ValueError, OverflowError) as error:
        raise UnsupportedError(f"the bound {value!r} for {dtype}") from error
    zone = getattr(dtype, "time_zone", None) or getattr(parsed, "tzinfo", None)
    if zone is not None:
        raise UnsupportedError("bounds in time zones")
    if isinstance(dtype, pl.Datetime) and not isinstance(parsed, datetime):
        return datetime.combine(parsed, time.min)
    return parsed


def length_of(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Count characters, bytes or elements."""
    if dtype == pl.String:
        return values.str.len_chars().cast(pl.Int64)
    if dtype == pl.Binary:
        return values.bin.size().cast(pl.Int64)
    if isinstance(dtype, pl.List):
        return values.list.len().cast(pl.Int64)
    raise UnsupportedError(f"the length of {dtype}")


def length_between(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values whose length is inside the bounds."""
    low, high = (bound(kwargs.get(key), pl.Int64()) for key in ("min_value", "max_value"))
    return within(length_of(values, dtype), low, high, kwargs)


def length_equals(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values of one length."""
    return length_of(values, dtype) == pl.lit(bound(kwargs["value"], pl.Int64()))


def matches(values: pl.Expr, dtype: pl.DataType, pattern: object) -> pl.Expr:
    """Search texts for a pattern.

    Raises:
        UnsupportedError: these are no texts, or the pattern has no equal in Polars.
    """
    if dtype != pl.String or not isinstance(pattern, str):
        raise UnsupportedError(f"patterns in {dtype}")
    try:
        return values.str.contains(to_rust(pattern))
    except UntranslatableError as error:
        raise UnsupportedError(str(error)) from error


def match_regex(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the texts in which the pattern is found."""
    return matches(values, dtype, kwargs["regex"])


def not_match_regex(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the texts in which the pattern is not found."""
    return ~matches(values, dtype, kwargs["regex"])


def dateutil_parseable(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the texts that `dateutil` reads as a date."""
    from dateutil import parser

    del kwargs
    return parseable(values, dtype, parser.parse)


def match_strftime(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the texts that are dates of the format."""
    layout = kwargs["strftime_format"]
    return parseable(values, dtype, lambda text: datetime.strptime(text, layout))  # noqa: DTZ007


def parseable(values: pl.Expr, dtype: pl.DataType, parse: Callable[[str], object]) -> pl.Expr:
    """Ask Python's parser, once for each distinct text of a batch."""
    if dtype != pl.String:
        raise UnsupportedError(f"dates in {dtype}")

    def reads(text: str | None) -> bool | None:
        if text is None:
            return None
        try:
            parse(text)
        except (ValueError, OverflowError):
            return False
        return True

    def ask(texts: pl.Series) -> pl.Series:
        known = {text: reads(text) for text in texts.unique()}
        return pl.Series([known[text] for text in texts], dtype=pl.Boolean)

    return values.map_batches(ask, return_dtype=pl.Boolean, is_elementwise=True)


def increasing(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values that are not below the value before them; gaps are passed over."""
    before = predecessor(values, dtype)
    kept = values > before if kwargs.get("strictly") else values >= before
    return kept | before.is_null()


def decreasing(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Tell the values that are not above the value before them; gaps are passed over."""
    before = predecessor(values, dtype)
    kept = values < before if kwargs.get("strictly") else values <= before
    return kept | before.is_null()


def predecessor(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Give the last value before each row."""
    if not (dtype.is_integer() or dtype.is_float() or isinstance(dtype, pl.Date | pl.Datetime)):
        raise UnsupportedError(f"the order of {dtype}")
    if dtype.is_float():
        # Between two infinities of one sign pandas' difference is no number, so it lets them pass.
        same = values.shift(1).forward_fill()
        return pl.when(values.is_infinite() & (values == same)).then(None).otherwise(same)
    return values.shift(1).forward_fill()


Check = Callable[[pl.Expr, pl.DataType, Kwargs], pl.Expr]

CHECKS: dict[str, Check] = {
    "column_values.in_set": in_set,
    "column_values.not_in_set": not_in_set,
    "column_values.between": between,
    "column_values.value_length.between": length_between,
    "column_values.value_length.equals": length_equals,
    "column_values.match_regex": match_regex,
    "column_values.not_match_regex": not_match_regex,
    "column_values.dateutil_parseable": dateutil_parseable,
    "column_values.match_strftime_format": match_strftime,
    "column_values.increasing": increasing,
    "column_values.decreasing": decreasing,
}
