"""Great Expectations' column aggregates as Polars expressions of a common pass, or as queries."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from data_contracts.engine import quantiles
from data_contracts.engine.predicates import (
    Kwargs,
    UnsupportedError,
    check_not_nested,
    compare_with_bounds,
)
from data_contracts.engine.row_rules import read_values


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A metric made of expressions that all metrics compute in one common pass."""

    expressions: Mapping[str, pl.Expr]
    """Aggregating expressions by name; equal expressions have equal names and are computed once."""
    finish: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A metric that needs a query of its own: distinct values, quantiles, examples."""

    run: Callable[[pl.LazyFrame], Any]
    count: "Aggregation | Query | None" = None
    """Metric that counts what is listed; if it is 0, the query is not run."""
    key: str = ""
    """Identifies equal queries, so that each is run once; empty if it is not shared."""


def compile_aggregate(
    metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema
) -> Aggregation | Query | None:
    """Compile an aggregate of GX's; None if the metric is not an aggregate.

    Raises:
        UnsupportedError: the metric has no equivalent in Polars on this column.
    """
    if metric == "table.row_count":
        _check_no_condition(domain)
        return Aggregation({"rows": pl.len()}, lambda results: int(results["rows"]))
    if metric not in _SIMPLE and metric not in _COMPUTED:
        return None
    _check_no_condition(domain)
    column = str(domain["column"])
    dtype = schema[column]
    if metric in _SIMPLE:
        return _compile_simple(metric, column, dtype)
    return _COMPUTED[metric](column, dtype, kwargs)


def _check_no_condition(domain: Kwargs) -> None:
    """Raise UnsupportedError for a metric of some rows only."""
    if domain.get("row_condition") is not None:
        raise UnsupportedError("a row_condition")


def _check_numeric(dtype: pl.DataType, what: str) -> None:
    """Raise UnsupportedError for a column that is not numeric."""
    if not (dtype.is_integer() or dtype.is_float()):
        raise UnsupportedError(f"the {what} of {dtype}")


def _check_countable(dtype: pl.DataType, what: str) -> None:
    """Raise UnsupportedError for types that pandas counts differently: categories, time zones."""
    check_not_nested(dtype, what)
    if isinstance(dtype, pl.Categorical | pl.Enum) or getattr(dtype, "time_zone", None):
        raise UnsupportedError(f"{what} of {dtype}")


_SIMPLE: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "column.min": lambda values: values.min(),
    "column.max": lambda values: values.max(),
    "column.mean": lambda values: values.mean(),
    "column.sum": lambda values: values.sum(),
    "column.standard_deviation": lambda values: values.std(),
    "column.non_null_count": lambda values: values.count(),
}


def _compile_simple(metric: str, column: str, dtype: pl.DataType) -> Aggregation:
    """Compile an aggregate that Polars has too; without values it is NaN, as in pandas."""
    values = read_values(column, dtype)
    numbers = dtype.is_integer() or dtype.is_float()
    if metric in {"column.min", "column.max"} and not (
        numbers or dtype == pl.String or _is_date_or_time(dtype)
    ):
        raise UnsupportedError(f"the extremes of {dtype}")
    if metric in {"column.mean", "column.sum", "column.standard_deviation"}:
        _check_numeric(dtype, metric.removeprefix("column."))
    if metric == "column.sum" and dtype.is_integer():
        # Many large integers would overflow in 64 bits.
        values = values.cast(pl.Int128)
    name = f"{metric}:{column}"

    def finish(results: Mapping[str, Any]) -> object:
        return math.nan if results[name] is None else results[name]

    return Aggregation({name: _SIMPLE[metric](values)}, finish)


def _is_date_or_time(dtype: pl.DataType) -> bool:
    """Return whether a type is a date or a time."""
    return isinstance(dtype, pl.Date | pl.Datetime)


def _compile_median(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.median`."""
    del kwargs
    _check_numeric(dtype, "median")
    return Query(lambda scan: quantiles.compute_median(scan, read_values(column, dtype)))


def _compile_quantile_values(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.quantile_values`, by GX's default of the nearest value."""
    _check_numeric(dtype, "quantiles")
    if kwargs.get("allow_relative_error") not in {None, False, "nearest"}:
        raise UnsupportedError(f"allow_relative_error {kwargs['allow_relative_error']}")
    shares = [float(share) for share in kwargs["quantiles"]]
    return Query(lambda scan: quantiles.compute_quantiles(scan, read_values(column, dtype), shares))


def _compile_histogram(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Aggregation:
    """Compile `column.histogram`: bins closed below, the last one on both sides."""
    _check_numeric(dtype, "histogram")
    bins = kwargs.get("bins")
    if not isinstance(bins, list | tuple) or len(bins) < 2 or list(bins) != sorted(bins):
        raise UnsupportedError(f"the bins {bins!r}")
    values, last = read_values(column, dtype), len(bins) - 2
    expressions = {}
    for index, (low, high) in enumerate(itertools.pairwise(bins)):
        above = values <= pl.lit(float(high)) if index == last else values < pl.lit(float(high))
        expressions[f"bin:{column}:{low}:{high}:{index == last}"] = (
            (values >= pl.lit(float(low))) & above
        ).sum()
    return Aggregation(expressions, lambda found: [int(found[name]) for name in expressions])


def _compile_between_count(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Aggregation:
    """Compile `column_values.between.count`."""
    _check_numeric(dtype, "bounds")
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    inside = compare_with_bounds(read_values(column, dtype), low, high, kwargs)
    name = f"within:{column}:{low}:{high}:{kwargs.get('strict_min')}:{kwargs.get('strict_max')}"
    # GX divides it by a count that may be 0, which only NumPy's numbers allow.
    return Aggregation({name: inside.sum()}, lambda results: np.int64(results[name]))


def _compile_distinct_count(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.distinct_values.count`."""
    del kwargs
    check_not_nested(dtype, "distinct values")
    return Query(lambda scan: count_distinct(scan, read_values(column, dtype)))


_MAX_VALUES_IN_MEMORY = 2_000_000
"""Largest number of distinct values in memory; more are counted in several passes."""


def count_distinct(
    scan: pl.LazyFrame, values: pl.Expr, *, max_in_memory: int = _MAX_VALUES_IN_MEMORY
) -> int:
    """Count distinct values without null, in memory that does not grow with the rows.

    A long column is counted by slices of the values' hashes, one pass a slice.
    """
    present = scan.select(values.alias("value")).drop_nulls()
    total = int(present.select(pl.len()).collect(engine="streaming").item())
    slices = max(1, math.ceil(total / max_in_memory))
    value = pl.col("value")
    return sum(
        int(
            (present.filter(value.hash() % slices == number) if slices > 1 else present)
            .select(value.n_unique())
            .collect(engine="streaming")
            .item()
        )
        for number in range(slices)
    )


def _count_values(scan: pl.LazyFrame, column: str, dtype: pl.DataType) -> pl.DataFrame:
    """Count each distinct value, sorted by value."""
    values = read_values(column, dtype).alias("value")
    present = scan.select(values).drop_nulls()
    return (
        present.group_by("value")
        .agg(pl.len().alias("count"))
        .collect(engine="streaming")
        .sort("value")
    )


def _list_distinct(scan: pl.LazyFrame, column: str, dtype: pl.DataType) -> list[Any]:
    """List the distinct values without null, sorted."""
    return _count_values(scan, column, dtype)["value"].to_list()


def _compile_value_counts(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.value_counts`, which GX expects as a pandas series indexed by value."""
    _check_countable(dtype, "value counts")
    if (kwargs.get("sort") or "value") != "value" or kwargs.get("collate") is not None:
        raise UnsupportedError("value counts in another order")

    def run(scan: pl.LazyFrame) -> object:
        import pandas as pd

        frame = _count_values(scan, column, dtype)
        index = pd.Index(frame["value"].to_list(), name="value")
        return pd.Series(frame["count"].to_list(), index=index, name="count", dtype="int64")

    return Query(run)


def _compile_distinct_values(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.distinct_values`."""
    del kwargs
    check_not_nested(dtype, "distinct values")
    return Query(lambda scan: set(_list_distinct(scan, column, dtype)))


def _compile_most_common(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.most_common_value`: all values of the highest count, sorted."""
    del kwargs
    _check_countable(dtype, "the most common value")

    def run(scan: pl.LazyFrame) -> list[Any]:
        frame = _count_values(scan, column, dtype)
        return frame.filter(pl.col("count") == pl.col("count").max())["value"].to_list()

    return Query(run)


def _compile_set_difference(column: str, dtype: pl.DataType, kwargs: Kwargs, name: str) -> Query:
    """Compile the column's values that are not in a set, or the set's not in the column."""
    if not (dtype == pl.String or dtype.is_integer() or dtype.is_float()):
        raise UnsupportedError(f"sets of {dtype}")
    listed = set(kwargs.get("value_set") or [])
    limit = kwargs.get("limit")

    def run(scan: pl.LazyFrame) -> object:
        found = set(_list_distinct(scan, column, dtype))
        rest = found - listed if "not_in_set" in name else listed - found
        ordered = sorted(rest, key=lambda value: (str(type(value)), value))
        return len(rest) if name.endswith(".count") else ordered[:limit]

    return Query(run)


def _bind_set_difference(name: str) -> "_Compiler":
    """Bind a metric's name to `_compile_set_difference`."""
    return lambda column, dtype, kwargs: _compile_set_difference(column, dtype, kwargs, name)


_Compiler = Callable[[str, pl.DataType, Kwargs], Aggregation | Query]

_SET_DIFFERENCES = (
    "column.distinct_values.not_in_set",
    "column.distinct_values.not_in_set.count",
    "column.distinct_values.missing_from_column",
    "column.distinct_values.missing_from_column.count",
)

_COMPUTED: dict[str, _Compiler] = {
    "column.median": _compile_median,
    "column.quantile_values": _compile_quantile_values,
    "column.histogram": _compile_histogram,
    "column_values.between.count": _compile_between_count,
    "column.distinct_values": _compile_distinct_values,
    "column.distinct_values.count": _compile_distinct_count,
    "column.value_counts": _compile_value_counts,
    "column.most_common_value": _compile_most_common,
    **{name: _bind_set_difference(name) for name in _SET_DIFFERENCES},
}
