"""Cases for Great Expectations, and the comparison of the Polars engine with GX's pandas engine."""

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
from great_expectations.core.batch import Batch
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.validator.validator import Validator
from hypothesis import assume, currently_in_test_context, event
from hypothesis import strategies as st

from data_contracts.contract import ContractFileError, Expectation
from data_contracts.engine.gx import (
    build_expectation,
    find_exception_message,
    open_context,
    run_validation,
)
from data_contracts.engine.polars_engine import UNSUPPORTED_PREFIX, PolarsValidator

INF, NAN = math.inf, math.nan

# Small pools, so that values meet each other, the bounds and the sets.
SMALL = [0, 1, 2, 3, 7, 100]
SIGNED = [*SMALL, -1, -3, -100]
FLOATS = [0.0, -0.0, 1.0, 1.5, 2.0, -2.0, 0.1, 0.25, 100.0, 1e9, INF, -INF, NAN]
DATES = [date(2020, 1, 1), date(2020, 1, 2), date(1969, 12, 31), date(2262, 1, 1)]
TIMES = [datetime(2020, 1, 1), datetime(2020, 1, 1, 0, 0, 0, 1), datetime(1969, 5, 1, 12)]  # noqa: DTZ001
TEXTS = [
    *("", "a", "b", "ab", "A", "1", "2020-01-01", "2020-02-30", "12:30", "nan", "None", " a"),
    *("a\n", "\n", "\u00e9", "e\u0301", "\u0661\u0662", "\u00df", "\U0001f600", "a'\"b"),
]
DURATIONS = [timedelta(0), timedelta(seconds=1), timedelta(days=-1), timedelta(microseconds=5)]

POOLS: dict[str, tuple[pl.DataType, list]] = {
    "Int8": (pl.Int8(), [*SIGNED, 127, -128]),
    "Int16": (pl.Int16(), [*SIGNED, 32767]),
    "Int32": (pl.Int32(), [*SIGNED, 2**31 - 1]),
    "Int64": (pl.Int64(), [*SIGNED, 2**49, -(2**49)]),
    "UInt8": (pl.UInt8(), [*SMALL, 255]),
    "UInt32": (pl.UInt32(), [*SMALL, 2**32 - 1]),
    "UInt64": (pl.UInt64(), [*SMALL, 2**49]),
    "Float64": (pl.Float64(), FLOATS),
    "Float32": (pl.Float32(), FLOATS),
    "String": (pl.String(), TEXTS),
    "Boolean": (pl.Boolean(), [True, False]),
    "Date": (pl.Date(), DATES),
    "Datetime": (pl.Datetime("us"), TIMES),
    "Datetime[ms]": (pl.Datetime("ms"), TIMES),
    "Datetime[ns]": (pl.Datetime("ns"), TIMES),
    "Datetime[UTC]": (pl.Datetime("us", "UTC"), [moment.replace(tzinfo=UTC) for moment in TIMES]),
    "Time": (pl.Time(), [time(0), time(12, 30), time(23, 59, 59, 1)]),
    "Duration": (pl.Duration("us"), DURATIONS),
    "Decimal": (pl.Decimal(10, 2), [Decimal("0.10"), Decimal("1.00"), Decimal("-2.50")]),
    "Categorical": (pl.Categorical(), ["a", "b", "", "\u00e9"]),
    "Enum": (pl.Enum(["b", "a"]), ["a", "b"]),
    "List": (pl.List(pl.Int64), [[], [1], [1, 2]]),
    "Struct": (pl.Struct({"x": pl.Int64}), [{"x": 1}, {"x": 2}]),
    "Binary": (pl.Binary(), [b"", b"a", b"ab", b"\xff"]),
    "Null": (pl.Null(), []),
}

NUMBERS = [name for name in POOLS if "Int" in name or "Float" in name]

ORDINARY = ("Int64", "Float64", "String", "Date", "Datetime", "Int32", "Boolean")

FOREIGN = [None, True, 1, 0, 1.5, 2.0, -0.0, NAN, "a", "1", "2020-01-01", date(2020, 1, 1), b"a"]

NAMES = ["a", "b c", "\u00fc", "q'\"", "x.y", "1", "value", "count"]


class Case(NamedTuple):
    """A frame, and one expectation."""

    frame: pl.DataFrame
    kind: str
    kwargs: dict


@cache
def open_shared_context() -> object:
    return open_context()


def build_expectations(expectations: list[tuple[str, dict]]) -> list:
    return [
        build_expectation(Expectation(type=kind, kwargs=kwargs), index=index)
        for index, (kind, kwargs) in enumerate(expectations)
    ]


def run_polars(scan: pl.LazyFrame, expectations: list[tuple[str, dict]]) -> list:
    return run_validation(
        PolarsValidator(scan, open_shared_context()), build_expectations(expectations)
    )


def has_date_arguments(expectation: object) -> bool:
    """Return whether an argument is a date, which equals none of the times that pandas makes."""
    kwargs = expectation.configuration.kwargs
    values = [kwargs.get("min_value"), kwargs.get("max_value"), *(kwargs.get("value_set") or [])]
    values += (kwargs.get("partition_object") or {}).get("values", [])
    return any(type(value) is date for value in values)


def run_pandas(frame: pl.DataFrame, expectations: list[tuple[str, dict]]) -> list:
    built = build_expectations(expectations)
    as_dates = any(map(has_date_arguments, built))
    batch = Batch(data=frame.to_pandas(date_as_object=as_dates))
    validator = Validator(
        PandasExecutionEngine(), batches=[batch], data_context=open_shared_context()
    )
    return run_validation(validator, built)


def normalize(value: object) -> object:
    """Convert a value of either engine to one common form."""
    if isinstance(value, dict):
        return {key: normalize(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [normalize(each) for each in value]
    if pd.isna(value):
        return "missing"
    if isinstance(value, np.timedelta64 | timedelta):
        return ("lasts", pd.Timedelta(value).as_unit("ns").value)
    if isinstance(value, np.datetime64 | date):
        return ("at", pd.Timestamp(value).as_unit("us").value)
    return value.item() if isinstance(value, np.generic) else value


def are_equal(one: object, other: object) -> bool:
    """Compare normalized values, floats to a billionth of their size."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return type(one) is type(other) and one == other


def is_unsupported(result: object) -> bool:
    return (find_exception_message(result) or "").startswith(UNSUPPORTED_PREFIX)


def extract_outcome(result: object) -> object:
    outcome = normalize(dict(result.result))
    if "missing" in str(outcome.get("partial_unexpected_list")):
        # In pandas each NaN of a list is a separate value, and NaT cannot be sorted.
        outcome.pop("partial_unexpected_counts", None)
    if "partial_missing_list" in outcome:
        # Pandas lists a set in any order.
        outcome["partial_missing_list"].sort(key=repr)
    return {"success": result.success, "result": outcome}


def adapt_to_pandas(case: Case) -> Case:
    """Adapt a case for which the result of pandas is known to be wrong or imprecise."""
    frame, kind, kwargs = case
    if "creasing" in kind:
        # In pandas, differences of short or unsigned integers wrap around.
        return Case(frame.with_columns(cs.integer().cast(pl.Int64)), kind, kwargs)
    if kind in AGGREGATES:
        # Pandas sums 32-bit floats in 32 bits, the Polars engine in 64.
        return Case(frame.with_columns(cs.float().cast(pl.Float64)), kind, kwargs)
    if "type" in kind:
        # With missing values pandas has float64 for integers and object for booleans.
        filled = (cs.integer().fill_null(0), cs.boolean().fill_null(value=True))
        return Case(frame.with_columns(filled), kind, kwargs)
    if "pair" in kind and kwargs["column_A"] == kwargs["column_B"]:
        # For a column and itself pandas lists pairs of pairs.
        twin = frame.with_columns(pl.col(kwargs["column_A"]).alias("twin"))
        return Case(twin, kind, kwargs | {"column_B": "twin"})
    return case


class Comparison(NamedTuple):
    """The comparison of one case between the two engines."""

    state: str
    difference: str | None = None


def compare_engines(case: Case) -> Comparison:
    """Run a case on both engines and compare their results."""
    try:
        [ours] = run_polars(case.frame.lazy(), [(case.kind, case.kwargs)])
    except ContractFileError:
        return Comparison("no such expectation")
    if is_unsupported(ours):
        return Comparison("refused")
    other = adapt_to_pandas(case)
    [theirs] = run_pandas(other.frame, [(other.kind, other.kwargs)])
    if find_exception_message(theirs):
        return Comparison("pandas fails")
    if find_exception_message(ours):
        return Comparison("polars fails", find_exception_message(ours))
    one, other = extract_outcome(ours), extract_outcome(theirs)
    return Comparison(
        "compared", None if are_equal(one, other) else f"polars {one}\npandas {other}"
    )


def find_difference(case: Case) -> str | None:
    comparison = compare_engines(case)
    if currently_in_test_context():
        event(comparison.state)
    return comparison.difference


def draw_series(draw: st.DrawFn, pool: str, name: str, rows: int, gaps: float) -> pl.Series:
    dtype, values = POOLS[pool]
    one = st.sampled_from(values) if values else st.none()
    if pool == "String":
        one = st.one_of(one, st.text(max_size=3))
    if gaps:
        one = st.one_of(st.none(), one) if gaps < 1 else st.none()
    return pl.Series(name, draw(st.lists(one, min_size=rows, max_size=rows)), dtype=dtype)


@st.composite
def frames(draw: st.DrawFn, pools: list[str]) -> pl.DataFrame:
    """Frames of one column of each pool."""
    names = draw(st.permutations(NAMES))[: len(pools)]
    rows = draw(st.sampled_from([0, 1, 2, 3, 5, 8]))
    gaps = draw(st.sampled_from([0, 0, 0.5, 0.5, 0.5, 1]))
    columns = [draw_series(draw, p, n, rows, gaps) for p, n in zip(pools, names, strict=True)]
    return pl.DataFrame(columns)


one_pool = st.one_of(st.sampled_from(ORDINARY), st.sampled_from(sorted(POOLS)))


def comparable_values(pool: str) -> st.SearchStrategy:
    """Build values that a column may be compared with."""
    values = [v for v in POOLS[pool][1] if not (isinstance(v, float) and math.isnan(v))]
    if pool == "Date" or "Datetime" in pool:
        values = [*values, "2020-01-01", "1970-01-01 00:00:00", "2020-01-01 00:00:00.000001"]
    if POOLS[pool][0].is_numeric():
        values = [*values, 0.5, 1, 2.0, -1, 1000, INF, -INF, 2**63, -(2**63), 1e300]
    values = [v for v in values if not isinstance(v, Decimal | timedelta | time | list | dict)]
    return st.sampled_from(values or [1])


def draw_bounds(draw: st.DrawFn, values: st.SearchStrategy) -> dict:
    kwargs = {}
    for key in draw(st.sampled_from([["min"], ["max"], ["min", "max"], ["min", "max"]])):
        kwargs[f"{key}_value"] = draw(values)
        if draw(st.booleans()):
            kwargs[f"strict_{key}"] = draw(st.booleans())
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None and draw(st.integers(0, 9)):
        with suppress(TypeError):
            kwargs |= {"min_value": min(low, high), "max_value": max(low, high)}
    return kwargs


def draw_mostly(draw: st.DrawFn) -> dict:
    return {"mostly": draw(st.sampled_from([0.0, 0.5, 0.75, 1]))} if draw(st.booleans()) else {}


def choose_rarely(
    draw: st.DrawFn, values: st.SearchStrategy, others: st.SearchStrategy
) -> st.SearchStrategy:
    return others if draw(st.integers(0, 7)) == 0 else values


Arguments = Callable[[st.DrawFn, str], dict]

REGEXES = [
    "a",
    "^a",
    "b$",
    "^$",
    r"\d",
    r"^\w+$",
    r"\s",
    "[^a]",
    "a|b",
    "^.$",
    r"\W",
    "(?=a)",
    "(",
    r"\n",
]
FORMATS = ["%Y-%m-%d", "%H:%M", "%d/%m/%Y", "a"]
TYPES = ["int64", "Int64", "float64", "object", "str", "int", "datetime64[ns]", "bool", "INTEGER"]


def draw_nothing(*_drawn: object) -> dict:
    return {}


def draw_set(draw: st.DrawFn, pool: str) -> dict:
    values = st.lists(comparable_values(pool), max_size=4)
    return {
        "value_set": draw(
            choose_rarely(draw, values, st.lists(st.sampled_from(FOREIGN), max_size=4))
        )
    }


def draw_value_bounds(draw: st.DrawFn, pool: str) -> dict:
    return draw_bounds(
        draw, choose_rarely(draw, comparable_values(pool), st.sampled_from(FOREIGN[1:]))
    )


def draw_number_bounds(draw: st.DrawFn, _pool: str) -> dict:
    return draw_bounds(draw, st.sampled_from([0, 1, 2, 5, 0.5, -1.5, 100, 1e6]))


def draw_count_bounds(draw: st.DrawFn, _pool: str) -> dict:
    kwargs = draw_bounds(draw, st.integers(0, 5))
    return {key: value for key, value in kwargs.items() if "strict" not in key}


def draw_length_bounds(draw: st.DrawFn, _pool: str) -> dict:
    return draw_bounds(draw, st.integers(0, 5))


def draw_share_bounds(draw: st.DrawFn, _pool: str) -> dict:
    return draw_bounds(draw, st.sampled_from([0.0, 0.25, 0.5, 1.0]))


def draw_length(draw: st.DrawFn, _pool: str) -> dict:
    return {"value": draw(st.integers(0, 3))}


def draw_regex(draw: st.DrawFn, _pool: str) -> dict:
    return {"regex": draw(st.sampled_from(REGEXES))}


def draw_format(draw: st.DrawFn, _pool: str) -> dict:
    return {"strftime_format": draw(st.sampled_from(FORMATS))}


def draw_strictly(draw: st.DrawFn, _pool: str) -> dict:
    return {"strictly": draw(st.booleans())} if draw(st.booleans()) else {}


def draw_type(draw: st.DrawFn, _pool: str) -> dict:
    return {"type_": draw(st.sampled_from(TYPES))}


def draw_type_list(draw: st.DrawFn, _pool: str) -> dict:
    return {"type_list": draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))}


def draw_quantiles(draw: st.DrawFn, _pool: str) -> dict:
    share = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
    shares = draw(st.lists(share, min_size=1, max_size=4))
    limits = [
        sorted(draw(st.lists(st.sampled_from(SIGNED), min_size=2, max_size=2))) for _ in shares
    ]
    for limit in limits:
        if draw(st.integers(0, 3)) == 0:
            limit[draw(st.integers(0, 1))] = None
    return {"quantile_ranges": {"quantiles": shares, "value_ranges": limits}}


def draw_partition(draw: st.DrawFn, pool: str) -> dict:
    holdout = st.sampled_from([0, 0, 0.1])
    if draw(st.booleans()):
        values = draw(st.lists(comparable_values(pool), min_size=1, max_size=4, unique_by=str))
        partition = {"values": values, "weights": [1 / len(values)] * len(values)}
        return {
            "partition_object": partition,
            "threshold": draw(st.sampled_from([None, 0.1, 1.0])),
            "tail_weight_holdout": draw(holdout),
            "bucketize_data": draw(st.booleans()),
        }
    edges = st.sampled_from([-INF, -3, -1, 0, 0.5, 1, 2, 100, 1000.0, INF])
    bins = sorted(draw(st.lists(edges, min_size=2, max_size=6, unique=True)))
    weights = [1 / (len(bins) - 1)] * (len(bins) - 1)
    partition = {"bins": bins, "weights": weights}
    if draw(st.booleans()) and INF not in bins and -INF not in bins:
        partition = {
            "bins": bins,
            "weights": [w / 2 for w in weights],
            "tail_weights": [0.25, 0.25],
        }
    return {
        "partition_object": partition,
        "threshold": draw(st.sampled_from([None, 0.1, 1.0])),
        "tail_weight_holdout": draw(holdout),
        "internal_weight_holdout": draw(holdout),
    }


def draw_pair_filter(draw: st.DrawFn) -> dict:
    ways = ["both_values_are_missing", "either_value_is_missing", "neither"]
    return {"ignore_row_if": draw(st.sampled_from(ways))} if draw(st.booleans()) else {}


def draw_multicolumn_filter(draw: st.DrawFn) -> dict:
    ways = ["all_values_are_missing", "any_value_is_missing", "never"]
    return {"ignore_row_if": draw(st.sampled_from(ways))} if draw(st.booleans()) else {}


ROWS: dict[str, Arguments] = {
    "expect_column_values_to_not_be_null": draw_nothing,
    "expect_column_values_to_be_null": draw_nothing,
    "expect_column_values_to_be_unique": draw_nothing,
    "expect_column_values_to_be_in_set": draw_set,
    "expect_column_values_to_not_be_in_set": draw_set,
    "expect_column_values_to_be_between": draw_value_bounds,
    "expect_column_value_lengths_to_be_between": draw_length_bounds,
    "expect_column_value_lengths_to_equal": draw_length,
    "expect_column_values_to_match_regex": draw_regex,
    "expect_column_values_to_not_match_regex": draw_regex,
    "expect_column_values_to_be_dateutil_parseable": draw_nothing,
    "expect_column_values_to_match_strftime_format": draw_format,
    "expect_column_values_to_be_increasing": draw_strictly,
    "expect_column_values_to_be_decreasing": draw_strictly,
    "expect_column_values_to_be_of_type": draw_type,
    "expect_column_values_to_be_in_type_list": draw_type_list,
}

AGGREGATES: dict[str, Arguments] = {
    "expect_column_mean_to_be_between": draw_number_bounds,
    "expect_column_median_to_be_between": draw_number_bounds,
    "expect_column_stdev_to_be_between": draw_number_bounds,
    "expect_column_sum_to_be_between": draw_number_bounds,
    "expect_column_min_to_be_between": draw_value_bounds,
    "expect_column_max_to_be_between": draw_value_bounds,
    "expect_column_quantile_values_to_be_between": draw_quantiles,
    "expect_column_unique_value_count_to_be_between": draw_count_bounds,
    "expect_column_proportion_of_unique_values_to_be_between": draw_share_bounds,
    "expect_column_proportion_of_non_null_values_to_be_between": draw_share_bounds,
    "expect_column_distinct_values_to_be_in_set": draw_set,
    "expect_column_distinct_values_to_equal_set": draw_set,
    "expect_column_distinct_values_to_contain_set": draw_set,
    "expect_column_most_common_value_to_be_in_set": draw_set,
    "expect_column_kl_divergence_to_be_less_than": draw_partition,
}

NUMERIC = {kind for kind in AGGREGATES if any(w in kind for w in ("mean", "dev", "sum", "quan"))}

TEXTUAL = {
    *("expect_column_value_lengths_to_be_between", "expect_column_value_lengths_to_equal"),
    *("expect_column_values_to_match_regex", "expect_column_values_to_not_match_regex"),
    "expect_column_values_to_be_dateutil_parseable",
    "expect_column_values_to_match_strftime_format",
}


@st.composite
def column_cases(draw: st.DrawFn, kind: str) -> Case:
    pools = one_pool
    if draw(st.integers(0, 3)):
        pools = st.just("String") if kind in TEXTUAL else pools
        pools = st.sampled_from(NUMBERS) if kind in NUMERIC else pools
    pool = draw(pools)
    # Pandas measures the printed text of a list; the Polars engine counts its elements.
    assume(not ("length" in kind and pool == "List"))
    frame = draw(frames([pool]))
    kwargs = (ROWS | AGGREGATES)[kind](draw, pool) | {"column": frame.columns[0]}
    if kind in ROWS:
        kwargs |= draw_mostly(draw)
    return Case(frame, kind, kwargs)


PAIRS = (
    "expect_column_pair_values_to_be_equal",
    "expect_column_pair_values_a_to_be_greater_than_b",
)


MULTICOLUMN = ("expect_compound_columns_to_be_unique", "expect_multicolumn_sum_to_equal")


ORDINARY_FRAME = pl.DataFrame(
    {
        "i": [1, 2, None, 4, 4, 5],
        "j": [1, 3, 3, None, 4, 9],
        "f": [0.5, 1.5, None, NAN, 2.5, 2.5],
        "s": ["a", "b", None, "2020-01-01", "b", ""],
        "d": [date(2020, 1, day) if day else None for day in (1, 2, 0, 4, 4, 3)],
        "t": [datetime(2020, 1, d, 1, 2, 3, 4) if d else None for d in (1, 2, 0, 4, 4, 3)],  # noqa: DTZ001
        "b": [True, False, None, True, True, False],
    }
)


BIG = [2**53 + 1, 2**53, 2**53 + 3, None, 2**53 + 1, 2**63 - 1]
