"""Great Expectations' conditions on single values as Polars predicates.

For the values of a column that are not missing, each predicate returns what GX's pandas provider of
the same metric returns. What has no equivalent (a column type, a pattern, a bound of another type)
raises `UnsupportedError`, so that the caller can use GX's pandas engine instead.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from data_contracts.engine.regex import UntranslatableError, translate_to_rust

Kwargs = Mapping[str, Any]


class UnsupportedError(ValueError):
    """A metric on such a column has no equivalent in Polars."""


def check_not_nested(dtype: pl.DataType, what: str) -> None:
    """Raise UnsupportedError for lists, structs and objects, which GX cannot compare either."""
    if dtype.is_nested() or dtype == pl.Object:
        raise UnsupportedError(f"{what} of {dtype}")


def _in_set(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values in `value_set`; all if there is no set."""
    listed = kwargs.get("value_set")
    if listed is None:
        return pl.lit(value=True)
    return values.is_in(pl.Series(_convert_set(listed, dtype), dtype=dtype).implode())


def _not_in_set(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values that are not in `value_set`; all if there is no set."""
    if kwargs.get("value_set") is None:
        return pl.lit(value=True)
    return ~_in_set(values, dtype, kwargs)


def _convert_set(listed: Sequence[Any], dtype: pl.DataType) -> list[Any]:
    """Convert the listed values that can equal one of the column's type to this type.

    Raises:
        UnsupportedError: equality with this type is not defined here.
    """
    if dtype == pl.String:
        return [value for value in listed if isinstance(value, str)]
    if dtype.is_integer() or dtype.is_float():
        numbers = [number for number in listed if isinstance(number, (int, float))]
        if dtype.is_float():
            return [float(number) for number in numbers if number == number]  # noqa: PLR0124 - NaN
        low, high = _get_integer_range(dtype)
        return [int(n) for n in numbers if low <= n <= high and n == int(n)]
    if dtype == pl.Boolean and all(isinstance(value, bool) for value in listed):
        return list(listed)
    if dtype == pl.Date and all(type(value) is date for value in listed):
        return list(listed)
    raise UnsupportedError(f"a set of values for {dtype}")


def _get_integer_range(dtype: pl.DataType) -> tuple[int, int]:
    """Return the smallest and the largest number of an integer type."""
    bits = int(str(dtype).removeprefix("U").removeprefix("Int"))
    if dtype.is_signed_integer():
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _between(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values within `min_value` and `max_value`, of which one may be missing."""
    low, high = (
        _parse_bound(kwargs.get("min_value"), dtype),
        _parse_bound(kwargs.get("max_value"), dtype),
    )
    if isinstance(dtype, pl.Datetime):
        values, (low, high) = (
            _convert_to_ticks(values, dtype),
            (_convert_bound_to_ticks(each, dtype) for each in (low, high)),
        )
    return compare_with_bounds(values, low, high, kwargs)


def _convert_to_ticks(values: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    """Convert to microseconds, or nanoseconds if the column has them, which Polars would round."""
    return (values.cast(pl.Datetime("us")) if dtype.time_unit == "ms" else values).to_physical()


def _convert_bound_to_ticks(at: datetime | None, dtype: pl.Datetime) -> int | None:
    """Convert a bound to the same unit, clipped to 64 bits."""
    if at is None:
        return None
    count = (at - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001 - as the column
    largest = 2**63 - 1
    return max(-largest, min(largest, count * (1000 if dtype.time_unit == "ns" else 1)))


def compare_with_bounds(values: pl.Expr, low: Any, high: Any, kwargs: Kwargs) -> pl.Expr:  # noqa: ANN401
    """Select the values within two parsed bounds, of which one may be None.

    Raises:
        UnsupportedError: there is no bound, one is not a number, or the lower one is above the
            upper one.
    """
    if low is None and high is None:
        raise UnsupportedError("no bound at all")
    if any(isinstance(each, float) and math.isnan(each) for each in (low, high)):
        raise UnsupportedError("a bound that is not a number")
    if low is not None and high is not None and low > high:
        raise UnsupportedError("a min_value above the max_value")
    kept = pl.lit(value=True)
    if low is not None:
        kept &= values > pl.lit(low) if kwargs.get("strict_min") else values >= pl.lit(low)
    if high is not None:
        kept &= values < pl.lit(high) if kwargs.get("strict_max") else values <= pl.lit(high)
    return kept


def _parse_bound(value: Any, dtype: pl.DataType) -> Any:  # noqa: ANN401 - of the column's own type
    """Parse a bound as the column's type.

    Raises:
        UnsupportedError: the bound cannot be compared with the column here.
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
        return _parse_date(value, dtype)
    raise UnsupportedError(f"the bound {value!r} for {dtype}")


def _parse_date(value: str | date, dtype: pl.Date | pl.Datetime) -> date:
    """Parse a date or datetime without a time zone, for a column that has none either."""
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


def _measure_length(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Measure the length in characters, bytes or elements."""
    if dtype == pl.String:
        return values.str.len_chars().cast(pl.Int64)
    if dtype == pl.Binary:
        return values.bin.size().cast(pl.Int64)
    if isinstance(dtype, pl.List):
        return values.list.len().cast(pl.Int64)
    raise UnsupportedError(f"the length of {dtype}")


def _length_between(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values whose length is within the bounds."""
    low, high = (_parse_bound(kwargs.get(key), pl.Int64()) for key in ("min_value", "max_value"))
    return compare_with_bounds(_measure_length(values, dtype), low, high, kwargs)


def _length_equals(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values of exactly one length."""
    return _measure_length(values, dtype) == pl.lit(_parse_bound(kwargs["value"], pl.Int64()))


def _contains_pattern(values: pl.Expr, dtype: pl.DataType, pattern: object) -> pl.Expr:
    """Select the texts that contain a match of a pattern.

    Raises:
        UnsupportedError: the column is not text, or the pattern has no equivalent in Polars.
    """
    if dtype != pl.String or not isinstance(pattern, str):
        raise UnsupportedError(f"patterns in {dtype}")
    try:
        return values.str.contains(translate_to_rust(pattern))
    except UntranslatableError as error:
        raise UnsupportedError(str(error)) from error


def _match_regex(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the texts in which the pattern is found."""
    return _contains_pattern(values, dtype, kwargs["regex"])


def _not_match_regex(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the texts in which the pattern is not found."""
    return ~_contains_pattern(values, dtype, kwargs["regex"])


def _dateutil_parseable(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the texts that `dateutil` parses as a date."""
    from dateutil import parser

    del kwargs
    return _can_parse(values, dtype, parser.parse)


def _match_strftime(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the texts that are dates of `strftime_format`."""
    layout = kwargs["strftime_format"]
    return _can_parse(values, dtype, lambda text: datetime.strptime(text, layout))  # noqa: DTZ007


def _can_parse(values: pl.Expr, dtype: pl.DataType, parse: Callable[[str], object]) -> pl.Expr:
    """Select the texts that a parser accepts; it runs once for each distinct text of a batch."""
    if dtype != pl.String:
        raise UnsupportedError(f"dates in {dtype}")

    def parses(text: str | None) -> bool | None:
        if text is None:
            return None
        try:
            parse(text)
        except (ValueError, OverflowError):
            return False
        return True

    def parse_batch(texts: pl.Series) -> pl.Series:
        known = {text: parses(text) for text in texts.unique()}
        return pl.Series([known[text] for text in texts], dtype=pl.Boolean)

    return values.map_batches(parse_batch, return_dtype=pl.Boolean, is_elementwise=True)


def _increasing(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values that are not below the previous one; missing values are skipped."""
    before = _shift_to_previous(values, dtype)
    kept = values > before if kwargs.get("strictly") else values >= before
    return kept | before.is_null()


def _decreasing(values: pl.Expr, dtype: pl.DataType, kwargs: Kwargs) -> pl.Expr:
    """Select the values that are not above the previous one; missing values are skipped."""
    before = _shift_to_previous(values, dtype)
    kept = values < before if kwargs.get("strictly") else values <= before
    return kept | before.is_null()


def _shift_to_previous(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the last value before each row that is not missing."""
    if not (dtype.is_integer() or dtype.is_float() or isinstance(dtype, pl.Date | pl.Datetime)):
        raise UnsupportedError(f"the order of {dtype}")
    if dtype.is_float():
        # The difference of two infinities of one sign is NaN in pandas, which lets them pass.
        same = values.shift(1).forward_fill()
        return pl.when(values.is_infinite() & (values == same)).then(None).otherwise(same)
    return values.shift(1).forward_fill()


_Predicate = Callable[[pl.Expr, pl.DataType, Kwargs], pl.Expr]

PREDICATES: dict[str, _Predicate] = {
    "column_values.in_set": _in_set,
    "column_values.not_in_set": _not_in_set,
    "column_values.between": _between,
    "column_values.value_length.between": _length_between,
    "column_values.value_length.equals": _length_equals,
    "column_values.match_regex": _match_regex,
    "column_values.not_match_regex": _not_match_regex,
    "column_values.dateutil_parseable": _dateutil_parseable,
    "column_values.match_strftime_format": _match_strftime,
    "column_values.increasing": _increasing,
    "column_values.decreasing": _decreasing,
}
