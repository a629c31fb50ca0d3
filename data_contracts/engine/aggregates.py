"""Great Expectations' column aggregates as Polars expressions: facts of one pass, or a query."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from data_contracts.engine import quantiles
from data_contracts.engine.predicates import Kwargs, UnsupportedError, refuse_nested, within
from data_contracts.engine.row_rules import present


@dataclass(frozen=True, slots=True)
class Plan:
    """What a metric asks of the one pass, and what is made of the answers."""

    facts: Mapping[str, pl.Expr]
    """Aggregating expressions by a name that tells equal ones; shared by all metrics."""
    finish: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A metric that needs the data by itself: distinct values, quantiles, examples."""

    ask: Callable[[pl.LazyFrame], Any]
    count: "Plan | Query | None" = None
    """How many there are to list; of none, the list is known to be empty."""
    name: str = ""
    """Tells equal queries, so that each is asked once."""


def aggregate_of(
    metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema
) -> Plan | Query | None:
    """Compile an aggregate of GX's, or None where the name is not one of an aggregate.

    Raises:
        UnsupportedError: it has no equal in Polars on this column.
    """
    if metric == "table.row_count":
        refuse_condition(domain)
        return Plan({"rows": pl.len()}, lambda facts: int(facts["rows"]))
    if metric not in SIMPLE and metric not in COMPUTED:
        return None
    refuse_condition(domain)
    column = str(domain["column"])
    dtype = schema[column]
    if metric in SIMPLE:
        return simple(metric, column, dtype)
    return COMPUTED[metric](column, dtype, kwargs)


def refuse_condition(domain: Kwargs) -> None:
    """Refuse a metric of some rows only."""
    if domain.get("row_condition") is not None:
        raise UnsupportedError("a row_condition")


def refuse_texts(dtype: pl.DataType, what: str) -> None:
    """Refuse what is not a number."""
    if not (dtype.is_integer() or dtype.is_float()):
        raise UnsupportedError(f"the {what} of {dtype}")


def refuse_coded(dtype: pl.DataType, what: str) -> None:
    """Refuse what pandas counts in its own way: by categories, or by moments of a time zone."""
    refuse_nested(dtype, what)
    if isinstance(dtype, pl.Categorical | pl.Enum) or getattr(dtype, "time_zone", None):
        raise UnsupportedError(f"{what} of {dtype}")


SIMPLE: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "column.min": lambda values: values.min(),
    "column.max": lambda values: values.max(),
    "column.mean": lambda values: values.mean(),
    "column.sum": lambda values: values.sum(),
    "column.standard_deviation": lambda values: values.std(),
    "column.non_null_count": lambda values: values.count(),
}


def simple(metric: str, column: str, dtype: pl.DataType) -> Plan:
    """Compile an aggregate that Polars has by name; of no values it is NaN, as in pandas."""
    values = present(column, dtype)
    numbers = dtype.is_integer() or dtype.is_float()
    if metric in {"column.min", "column.max"} and not (
        numbers or dtype == pl.String or is_moment(dtype)
    ):
        raise UnsupportedError(f"the extremes of {dtype}")
    if metric in {"column.mean", "column.sum", "column.standard_deviation"}:
        refuse_texts(dtype, metric.removeprefix("column."))
    if metric == "column.sum" and dtype.is_integer():
        # Many large whole numbers would wrap around in 64 bits.
        values = values.cast(pl.Int128)
    name = f"{metric}:{column}"

    def finish(facts: Mapping[str, Any]) -> object:
        return math.nan if facts[name] is None else facts[name]

    return Plan({name: SIMPLE[metric](values)}, finish)


def is_moment(dtype: pl.DataType) -> bool:
    """Tell dates and times."""
    return isinstance(dtype, pl.Date | pl.Datetime)


def median(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.median`."""
    del kwargs
    refuse_texts(dtype, "median")
    return Query(lambda scan: quantiles.median(scan, present(column, dtype)))


def quantile_values(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.quantile_values`, by GX's default of the nearest value."""
    refuse_texts(dtype, "quantiles")
    if kwargs.get("allow_relative_error") not in {None, False, "nearest"}:
        raise UnsupportedError(f"allow_relative_error {kwargs['allow_relative_error']}")
    shares = [float(share) for share in kwargs["quantiles"]]
    return Query(lambda scan: quantiles.quantiles(scan, present(column, dtype), shares))


def histogram(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Plan:
    """Compile `column.histogram`: bins closed below, the last one on both sides."""
    refuse_texts(dtype, "histogram")
    bins = kwargs.get("bins")
    if not isinstance(bins, list | tuple) or len(bins) < 2 or list(bins) != sorted(bins):
        raise UnsupportedError(f"the bins {bins!r}")
    values, last = present(column, dtype), len(bins) - 2
    facts = {}
    for place, (low, high) in enumerate(itertools.pairwise(bins)):
        above = values <= pl.lit(float(high)) if place == last else values < pl.lit(float(high))
        facts[f"bin:{column}:{low}:{high}:{place == last}"] = (
            (values >= pl.lit(float(low))) & above
        ).sum()
    return Plan(facts, lambda found: [int(found[name]) for name in facts])


def between_count(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Plan:
    """Compile `column_values.between.count`."""
    refuse_texts(dtype, "bounds")
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    kept = within(present(column, dtype), low, high, kwargs)
    name = f"within:{column}:{low}:{high}:{kwargs.get('strict_min')}:{kwargs.get('strict_max')}"
    # GX divides it by a count that may be 0, which only NumPy's numbers bear.
    return Plan({name: kept.sum()}, lambda facts: np.int64(facts[name]))


def distinct_count(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.distinct_values.count`."""
    del kwargs
    refuse_nested(dtype, "distinct values")
    return Query(lambda scan: count_distinct(scan, present(column, dtype)))


HELD = 2_000_000
"""Distinct values that are held at once; more are counted in as many passes as it takes."""


def count_distinct(scan: pl.LazyFrame, values: pl.Expr, *, held: int = HELD) -> int:
    """Count distinct values, null not among them, in memory that does not grow with the rows.

    A long column is counted by slices of the values' hashes, one pass a slice.
    """
    kept = scan.select(values.alias("value")).drop_nulls()
    total = int(kept.select(pl.len()).collect(engine="streaming").item())
    slices = max(1, math.ceil(total / held))
    value = pl.col("value")
    return sum(
        int(
            (kept.filter(value.hash() % slices == number) if slices > 1 else kept)
            .select(value.n_unique())
            .collect(engine="streaming")
            .item()
        )
        for number in range(slices)
    )


def counted(scan: pl.LazyFrame, column: str, dtype: pl.DataType) -> pl.DataFrame:
    """Count each distinct value, sorted by value."""
    values = present(column, dtype).alias("value")
    kept = scan.select(values).drop_nulls()
    return (
        kept.group_by("value")
        .agg(pl.len().alias("count"))
        .collect(engine="streaming")
        .sort("value")
    )


def distinct(scan: pl.LazyFrame, column: str, dtype: pl.DataType) -> list[Any]:
    """List the distinct values, sorted, null not among them."""
    return counted(scan, column, dtype)["value"].to_list()


def value_counts(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.value_counts`, which GX wants as a pandas series by value."""
    refuse_coded(dtype, "value counts")
    if (kwargs.get("sort") or "value") != "value" or kwargs.get("collate") is not None:
        raise UnsupportedError("value counts in another order")

    def ask(scan: pl.LazyFrame) -> object:
        import pandas as pd

        frame = counted(scan, column, dtype)
        index = pd.Index(frame["value"].to_list(), name="value")
        return pd.Series(frame["count"].to_list(), index=index, name="count", dtype="int64")

    return Query(ask)


def distinct_values(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.distinct_values`."""
    del kwargs
    refuse_nested(dtype, "distinct values")
    return Query(lambda scan: set(distinct(scan, column, dtype)))


def most_common(column: str, dtype: pl.DataType, kwargs: Kwargs) -> Query:
    """Compile `column.most_common_value`: all of the most frequent ones, sorted."""
    del kwargs
    refuse_coded(dtype, "the most common value")

    def ask(scan: pl.LazyFrame) -> list[Any]:
        frame = counted(scan, column, dtype)
        return frame.filter(pl.col("count") == pl.col("count").max())["value"].to_list()

    return Query(ask)


def set_difference(column: str, dtype: pl.DataType, kwargs: Kwargs, name: str) -> Query:
    """Compile what of the column is not in a set, or of the set not in the column."""
    if not (dtype == pl.String or dtype.is_integer() or dtype.is_float()):
        raise UnsupportedError(f"sets of {dtype}")
    listed = set(kwargs.get("value_set") or [])
    limit = kwargs.get("limit")

    def ask(scan: pl.LazyFrame) -> object:
        found = set(distinct(scan, column, dtype))
        rest = found - listed if "not_in_set" in name else listed - found
        ordered = sorted(rest, key=lambda value: (str(type(value)), value))
        return len(rest) if name.endswith(".count") else ordered[:limit]

    return Query(ask)


def difference_of(name: str) -> "Compile":
    """Name the set difference that a metric is about."""
    return lambda column, dtype, kwargs: set_difference(column, dtype, kwargs, name)


Compile = Callable[[str, pl.DataType, Kwargs], Plan | Query]

DIFFERENCES = (
    "column.distinct_values.not_in_set",
    "column.distinct_values.not_in_set.count",
    "column.distinct_values.missing_from_column",
    "column.distinct_values.missing_from_column.count",
)

COMPUTED: dict[str, Compile] = {
    "column.median": median,
    "column.quantile_values": quantile_values,
    "column.histogram": histogram,
    "column_values.between.count": between_count,
    "column.distinct_values": distinct_values,
    "column.distinct_values.count": distinct_count,
    "column.value_counts": value_counts,
    "column.most_common_value": most_common,
    **{name: difference_of(name) for name in DIFFERENCES},
}
