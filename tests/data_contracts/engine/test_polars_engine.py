"""The Polars engine answers as Great Expectations' own pandas engine does, or refuses."""

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
import pytest
from great_expectations.core.batch import Batch
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.validator.validator import Validator
from hypothesis import Phase, assume, currently_in_test_context, event, given, settings
from hypothesis import strategies as st

from data_contracts.contract import ContractFileError, Expectation
from data_contracts.engine.gx import ask, build, failure_of, open_gx
from data_contracts.engine.polars_engine import UNSUPPORTED, PolarsValidator

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
    "Datetime[UTC]": (pl.Datetime("us", "UTC"), [at.replace(tzinfo=UTC) for at in TIMES]),
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
    """A frame, and what is expected of it."""

    frame: pl.DataFrame
    kind: str
    kwargs: dict


@cache
def context() -> object:
    return open_gx()


def built(asked: list[tuple[str, dict]]) -> list:
    return [
        build(Expectation(type=kind, kwargs=kwargs), place=place)
        for place, (kind, kwargs) in enumerate(asked)
    ]


def by_polars(scan: pl.LazyFrame, asked: list[tuple[str, dict]]) -> list:
    return ask(PolarsValidator(scan, context()), built(asked))


def names_dates(expectation: object) -> bool:
    """Tell whether plain dates are asked about: the times that pandas makes of them equal none."""
    kwargs = expectation.configuration.kwargs
    values = [kwargs.get("min_value"), kwargs.get("max_value"), *(kwargs.get("value_set") or [])]
    values += (kwargs.get("partition_object") or {}).get("values", [])
    return any(type(value) is date for value in values)


def by_pandas(frame: pl.DataFrame, asked: list[tuple[str, dict]]) -> list:
    expectations = built(asked)
    as_dates = any(map(names_dates, expectations))
    batch = Batch(data=frame.to_pandas(date_as_object=as_dates))
    validator = Validator(PandasExecutionEngine(), batches=[batch], data_context=context())
    return ask(validator, expectations)


def plain(value: object) -> object:
    """Write a value of either engine in one way."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    if pd.isna(value):
        return "missing"
    if isinstance(value, np.timedelta64 | timedelta):
        return ("lasts", pd.Timedelta(value).as_unit("ns").value)
    if isinstance(value, np.datetime64 | date):
        return ("at", pd.Timestamp(value).as_unit("us").value)
    return value.item() if isinstance(value, np.generic) else value


def same(one: object, other: object) -> bool:
    """Compare plain values, floats to a billionth of their size."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return type(one) is type(other) and one == other


def refused(result: object) -> bool:
    return (failure_of(result) or "").startswith(UNSUPPORTED)


def outcome(result: object) -> object:
    found = plain(dict(result.result))
    if "missing" in str(found.get("partial_unexpected_list")):
        # Each NaN of a list is a value of its own in pandas, and NaT does not sort.
        found.pop("partial_unexpected_counts", None)
    if "partial_missing_list" in found:
        # Pandas lists a set as it comes.
        found["partial_missing_list"].sort(key=repr)
    return {"success": result.success, "result": found}


def for_pandas(case: Case) -> Case:
    """Change a case where pandas' own answer is known to be wrong or coarse."""
    frame, kind, kwargs = case
    if "creasing" in kind:
        # Differences of short or unsigned numbers wrap around.
        return Case(frame.with_columns(cs.integer().cast(pl.Int64)), kind, kwargs)
    if kind in AGGREGATES:
        # Sums of short floats are short too; ours are long.
        return Case(frame.with_columns(cs.float().cast(pl.Float64)), kind, kwargs)
    if "type" in kind:
        # With gaps pandas calls whole numbers float64 and truth values object.
        filled = (cs.integer().fill_null(0), cs.boolean().fill_null(value=True))
        return Case(frame.with_columns(filled), kind, kwargs)
    if "pair" in kind and kwargs["column_A"] == kwargs["column_B"]:
        # Of a column and itself pandas lists pairs of pairs.
        twin = frame.with_columns(pl.col(kwargs["column_A"]).alias("twin"))
        return Case(twin, kind, kwargs | {"column_B": "twin"})
    return case


class Verdict(NamedTuple):
    """What came of holding one engine to the other."""

    fate: str
    difference: str | None = None


def judge(case: Case) -> Verdict:
    """Tell how the engines disagree, if they do."""
    try:
        [ours] = by_polars(case.frame.lazy(), [(case.kind, case.kwargs)])
    except ContractFileError:
        return Verdict("no such expectation")
    if refused(ours):
        return Verdict("refused")
    other = for_pandas(case)
    [theirs] = by_pandas(other.frame, [(other.kind, other.kwargs)])
    if failure_of(theirs):
        return Verdict("pandas fails")
    if failure_of(ours):
        return Verdict("polars fails", failure_of(ours))
    one, other = outcome(ours), outcome(theirs)
    return Verdict("compared", None if same(one, other) else f"polars {one}\npandas {other}")


def difference(case: Case) -> str | None:
    verdict = judge(case)
    if currently_in_test_context():
        event(verdict.fate)
    return verdict.difference


def series_of(draw: st.DrawFn, pool: str, name: str, rows: int, gaps: float) -> pl.Series:
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
    columns = [series_of(draw, p, n, rows, gaps) for p, n in zip(pools, names, strict=True)]
    return pl.DataFrame(columns)


one_pool = st.one_of(st.sampled_from(ORDINARY), st.sampled_from(sorted(POOLS)))


def like(pool: str) -> st.SearchStrategy:
    """Values that a person compares a column with."""
    values = [v for v in POOLS[pool][1] if not (isinstance(v, float) and math.isnan(v))]
    if pool == "Date" or "Datetime" in pool:
        values = [*values, "2020-01-01", "1970-01-01 00:00:00", "2020-01-01 00:00:00.000001"]
    if POOLS[pool][0].is_numeric():
        values = [*values, 0.5, 1, 2.0, -1, 1000, INF, -INF, 2**63, -(2**63), 1e300]
    values = [v for v in values if not isinstance(v, Decimal | timedelta | time | list | dict)]
    return st.sampled_from(values or [1])


def bounds(draw: st.DrawFn, values: st.SearchStrategy) -> dict:
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


def mostly(draw: st.DrawFn) -> dict:
    return {"mostly": draw(st.sampled_from([0.0, 0.5, 0.75, 1]))} if draw(st.booleans()) else {}


def rarely(
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


def nothing(*_drawn: object) -> dict:
    return {}


def a_set(draw: st.DrawFn, pool: str) -> dict:
    values = st.lists(like(pool), max_size=4)
    return {"value_set": draw(rarely(draw, values, st.lists(st.sampled_from(FOREIGN), max_size=4)))}


def of_values(draw: st.DrawFn, pool: str) -> dict:
    return bounds(draw, rarely(draw, like(pool), st.sampled_from(FOREIGN[1:])))


def of_numbers(draw: st.DrawFn, _pool: str) -> dict:
    return bounds(draw, st.sampled_from([0, 1, 2, 5, 0.5, -1.5, 100, 1e6]))


def of_counts(draw: st.DrawFn, _pool: str) -> dict:
    kwargs = bounds(draw, st.integers(0, 5))
    return {key: value for key, value in kwargs.items() if "strict" not in key}


def of_lengths(draw: st.DrawFn, _pool: str) -> dict:
    return bounds(draw, st.integers(0, 5))


def of_shares(draw: st.DrawFn, _pool: str) -> dict:
    return bounds(draw, st.sampled_from([0.0, 0.25, 0.5, 1.0]))


def a_length(draw: st.DrawFn, _pool: str) -> dict:
    return {"value": draw(st.integers(0, 3))}


def a_regex(draw: st.DrawFn, _pool: str) -> dict:
    return {"regex": draw(st.sampled_from(REGEXES))}


def a_format(draw: st.DrawFn, _pool: str) -> dict:
    return {"strftime_format": draw(st.sampled_from(FORMATS))}


def strictly(draw: st.DrawFn, _pool: str) -> dict:
    return {"strictly": draw(st.booleans())} if draw(st.booleans()) else {}


def a_type(draw: st.DrawFn, _pool: str) -> dict:
    return {"type_": draw(st.sampled_from(TYPES))}


def a_type_list(draw: st.DrawFn, _pool: str) -> dict:
    return {"type_list": draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))}


def some_quantiles(draw: st.DrawFn, _pool: str) -> dict:
    share = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
    shares = draw(st.lists(share, min_size=1, max_size=4))
    limits = [
        sorted(draw(st.lists(st.sampled_from(SIGNED), min_size=2, max_size=2))) for _ in shares
    ]
    for limit in limits:
        if draw(st.integers(0, 3)) == 0:
            limit[draw(st.integers(0, 1))] = None
    return {"quantile_ranges": {"quantiles": shares, "value_ranges": limits}}


def a_partition(draw: st.DrawFn, pool: str) -> dict:
    holdout = st.sampled_from([0, 0, 0.1])
    if draw(st.booleans()):
        values = draw(st.lists(like(pool), min_size=1, max_size=4, unique_by=str))
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


def either(draw: st.DrawFn) -> dict:
    ways = ["both_values_are_missing", "either_value_is_missing", "neither"]
    return {"ignore_row_if": draw(st.sampled_from(ways))} if draw(st.booleans()) else {}


def which(draw: st.DrawFn) -> dict:
    ways = ["all_values_are_missing", "any_value_is_missing", "never"]
    return {"ignore_row_if": draw(st.sampled_from(ways))} if draw(st.booleans()) else {}


ROWS: dict[str, Arguments] = {
    "expect_column_values_to_not_be_null": nothing,
    "expect_column_values_to_be_null": nothing,
    "expect_column_values_to_be_unique": nothing,
    "expect_column_values_to_be_in_set": a_set,
    "expect_column_values_to_not_be_in_set": a_set,
    "expect_column_values_to_be_between": of_values,
    "expect_column_value_lengths_to_be_between": of_lengths,
    "expect_column_value_lengths_to_equal": a_length,
    "expect_column_values_to_match_regex": a_regex,
    "expect_column_values_to_not_match_regex": a_regex,
    "expect_column_values_to_be_dateutil_parseable": nothing,
    "expect_column_values_to_match_strftime_format": a_format,
    "expect_column_values_to_be_increasing": strictly,
    "expect_column_values_to_be_decreasing": strictly,
    "expect_column_values_to_be_of_type": a_type,
    "expect_column_values_to_be_in_type_list": a_type_list,
}

AGGREGATES: dict[str, Arguments] = {
    "expect_column_mean_to_be_between": of_numbers,
    "expect_column_median_to_be_between": of_numbers,
    "expect_column_stdev_to_be_between": of_numbers,
    "expect_column_sum_to_be_between": of_numbers,
    "expect_column_min_to_be_between": of_values,
    "expect_column_max_to_be_between": of_values,
    "expect_column_quantile_values_to_be_between": some_quantiles,
    "expect_column_unique_value_count_to_be_between": of_counts,
    "expect_column_proportion_of_unique_values_to_be_between": of_shares,
    "expect_column_proportion_of_non_null_values_to_be_between": of_shares,
    "expect_column_distinct_values_to_be_in_set": a_set,
    "expect_column_distinct_values_to_equal_set": a_set,
    "expect_column_distinct_values_to_contain_set": a_set,
    "expect_column_most_common_value_to_be_in_set": a_set,
    "expect_column_kl_divergence_to_be_less_than": a_partition,
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
    # Of a list pandas measures the text that it prints; ours counts, as told below.
    assume(not ("length" in kind and pool == "List"))
    frame = draw(frames([pool]))
    kwargs = (ROWS | AGGREGATES)[kind](draw, pool) | {"column": frame.columns[0]}
    if kind in ROWS:
        kwargs |= mostly(draw)
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", [*ROWS, *AGGREGATES])
@given(data=st.data())
@settings(max_examples=20)
def test_a_column_is_judged_as_pandas_judges_it(kind, data) -> None:
    case = data.draw(column_cases(kind))

    assert difference(case) is None


PAIRS = (
    "expect_column_pair_values_to_be_equal",
    "expect_column_pair_values_a_to_be_greater_than_b",
)


@st.composite
def pair_cases(draw: st.DrawFn, kind: str) -> Case:
    one = draw(one_pool)
    two = one if draw(st.booleans()) else draw(one_pool)
    frame = draw(frames([one, two]))
    names = [draw(st.sampled_from(frame.columns)) for _ in "AB"]
    kwargs = {"column_A": names[0], "column_B": names[1]} | mostly(draw) | either(draw)
    if "greater" in kind and draw(st.booleans()):
        kwargs["or_equal"] = draw(st.booleans())
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.data())
@settings(max_examples=40)
def test_a_pair_of_columns_is_judged_as_pandas_judges_it(kind, data) -> None:
    case = data.draw(pair_cases(kind))

    assert difference(case) is None


RECORDS = ("expect_compound_columns_to_be_unique", "expect_multicolumn_sum_to_equal")


@st.composite
def record_cases(draw: st.DrawFn, kind: str) -> Case:
    pools = [draw(one_pool) for _ in range(draw(st.integers(2, 3)))]
    if "sum" in kind and draw(st.integers(0, 3)):
        pools = [draw(st.sampled_from(["Int8", "Int64", "UInt32"])) for _ in pools]
    frame = draw(frames(pools))
    kwargs = {"column_list": draw(st.permutations(frame.columns))} | mostly(draw) | which(draw)
    if "sum" in kind:
        kwargs["sum_total"] = draw(st.sampled_from([0, 1, 2, 3, 100, 2.5]))
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
@settings(max_examples=40)
def test_several_columns_are_judged_as_pandas_judges_them(kind, data) -> None:
    case = data.draw(record_cases(kind))

    assert difference(case) is None


TABLES = (
    *("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"),
    *("expect_table_column_count_to_be_between", "expect_table_column_count_to_equal"),
    *("expect_table_columns_to_match_set", "expect_table_columns_to_match_ordered_list"),
    "expect_column_to_exist",
)


@st.composite
def table_cases(draw: st.DrawFn, kind: str) -> Case:
    frame = draw(frames(draw(st.lists(one_pool, min_size=1, max_size=3))))
    if kind.endswith("count_to_be_between"):
        kwargs = of_counts(draw, "")
    elif kind.endswith("to_equal"):
        kwargs = {"value": draw(st.integers(0, 5))}
    elif kind == "expect_column_to_exist":
        kwargs = {"column": draw(st.sampled_from(NAMES))}
        if draw(st.booleans()):
            kwargs["column_index"] = draw(st.integers(0, 2))
    else:
        wide = st.lists(st.sampled_from(NAMES), unique=True, max_size=3)
        names = draw(st.one_of(st.permutations(frame.columns), st.just(frame.columns), wide))
        kwargs = {"column_list" if "ordered" in kind else "column_set": names}
        if "set" in kind and draw(st.booleans()):
            kwargs["exact_match"] = draw(st.booleans())
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", TABLES)
@given(data=st.data())
@settings(max_examples=15)
def test_a_table_is_judged_as_pandas_judges_it(kind, data) -> None:
    case = data.draw(table_cases(kind))

    assert difference(case) is None


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

RANGE = {
    "i": {"min_value": 2, "max_value": 4},
    "f": {"min_value": 1, "strict_min": True},
    "d": {"min_value": "2020-01-02"},
    "t": {"max_value": "2020-01-02T12:00:00"},
}

LISTED = {"i": [1, 4], "f": [2.5, 1], "s": ["a", "b", 3], "d": [date(2020, 1, 4)], "b": [True]}

COUNTED = {"i": [1, 4], "f": [2.5, 1], "s": ["a", "b"]}

BINNED = {"bins": [0, 2, 4], "weights": [0.5, 0.4], "tail_weights": [0.05, 0.05]}


def of_columns(kind: str, kwargs: dict[str, dict]) -> list[tuple[str, dict]]:
    return [(kind, {"column": column} | each) for column, each in kwargs.items()]


def of_each(kind: str, columns: str, **kwargs: object) -> list[tuple[str, dict]]:
    return of_columns(kind, dict.fromkeys(columns, kwargs))


def with_sets(kind: str, sets: dict[str, list]) -> list[tuple[str, dict]]:
    return of_columns(kind, {column: {"value_set": values} for column, values in sets.items()})


HALF = {"quantiles": [0.25, 0.5], "value_ranges": [[0, 5], [None, 3]]}

CASES: list[tuple[str, dict]] = [
    *of_each("expect_column_values_to_not_be_null", "ifsdtb"),
    *of_each("expect_column_values_to_be_null", "ifsdtb", mostly=0.1),
    *of_each("expect_column_values_to_be_unique", "ifsdtb"),
    *with_sets("expect_column_values_to_be_in_set", LISTED),
    *with_sets("expect_column_values_to_not_be_in_set", LISTED),
    *of_columns("expect_column_values_to_be_between", RANGE),
    *of_each("expect_column_value_lengths_to_be_between", "s", min_value=1),
    *of_each("expect_column_value_lengths_to_equal", "s", value=1),
    *of_each("expect_column_values_to_match_regex", "s", regex=r"^\d{4}-\d\d"),
    *of_each("expect_column_values_to_not_match_regex", "s", regex="[ab]$"),
    *of_each("expect_column_values_to_be_dateutil_parseable", "s"),
    *of_each("expect_column_values_to_match_strftime_format", "s", strftime_format="%Y-%m-%d"),
    *of_each("expect_column_values_to_be_increasing", "ifdt"),
    *of_each("expect_column_values_to_be_decreasing", "ifdt", strictly=True),
    *of_each("expect_column_values_to_be_of_type", "ifsdtb", type_="float64"),
    *of_each("expect_column_values_to_be_in_type_list", "ifsdtb", type_list=["int64", "str"]),
    *of_each("expect_column_mean_to_be_between", "if", min_value=0),
    *of_each("expect_column_median_to_be_between", "if", min_value=0),
    *of_each("expect_column_stdev_to_be_between", "if", max_value=1),
    *of_each("expect_column_sum_to_be_between", "if", max_value=10),
    *of_columns("expect_column_min_to_be_between", RANGE),
    *of_columns("expect_column_max_to_be_between", RANGE),
    *of_each("expect_column_quantile_values_to_be_between", "if", quantile_ranges=HALF),
    *of_each("expect_column_unique_value_count_to_be_between", "ifsdtb", max_value=3),
    *of_each("expect_column_proportion_of_unique_values_to_be_between", "ifsdtb", min_value=0.9),
    *of_each("expect_column_proportion_of_non_null_values_to_be_between", "ifsdtb", min_value=0.9),
    *with_sets("expect_column_distinct_values_to_be_in_set", COUNTED),
    *with_sets("expect_column_distinct_values_to_equal_set", COUNTED),
    *with_sets("expect_column_distinct_values_to_contain_set", COUNTED),
    *with_sets("expect_column_most_common_value_to_be_in_set", LISTED),
    *of_each("expect_column_kl_divergence_to_be_less_than", "if", partition_object=BINNED),
    (PAIRS[0], {"column_A": "i", "column_B": "j"}),
    (PAIRS[1], {"column_A": "j", "column_B": "i", "or_equal": True}),
    (PAIRS[1], {"column_A": "t", "column_B": "t", "ignore_row_if": "either_value_is_missing"}),
    (RECORDS[0], {"column_list": ["i", "s"]}),
    (RECORDS[0], {"column_list": ["d", "t", "b"], "ignore_row_if": "any_value_is_missing"}),
    (RECORDS[1], {"column_list": ["i", "j"], "sum_total": 2}),
    ("expect_table_row_count_to_equal", {"value": 6}),
    ("expect_table_columns_to_match_ordered_list", {"column_list": list("ijfsdtb")}),
    ("expect_column_to_exist", {"column": "i", "column_index": 0}),
]


@pytest.mark.parametrize(("kind", "kwargs"), CASES)
def test_ordinary_columns_are_never_left_to_pandas(kind, kwargs) -> None:
    [ours] = by_polars(ORDINARY_FRAME.lazy(), [(kind, kwargs)])

    assert failure_of(ours) is None
    assert difference(Case(ORDINARY_FRAME, kind, kwargs)) is None


def told(result: object) -> object:
    return (failure_of(result) or "").splitlines()[:1] or outcome(result)


def test_a_suite_answers_as_its_expectations_do_alone() -> None:
    together = by_polars(ORDINARY_FRAME.lazy(), CASES)

    alone = [by_polars(ORDINARY_FRAME.lazy(), [case])[0] for case in CASES]

    for case, one, other in zip(CASES, together, alone, strict=True):
        assert same(told(one), told(other)), case


@st.composite
def suites(draw: st.DrawFn) -> tuple[pl.DataFrame, list[tuple[str, dict]]]:
    """A frame of a few columns, and expectations of every kind about any of them."""
    pools = draw(st.lists(one_pool, min_size=3, max_size=3))
    frame = draw(frames(pools))
    asked = []
    for kind in draw(st.permutations([*ROWS, *AGGREGATES]))[:12]:
        place = draw(st.integers(0, 2))
        kwargs = (ROWS | AGGREGATES)[kind](draw, pools[place])
        asked.append((kind, kwargs | {"column": frame.columns[place]}))
    pair = {"column_A": frame.columns[0], "column_B": frame.columns[1]}
    asked += [(kind, pair) for kind in PAIRS]
    return frame, asked


@given(drawn=suites())
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_one_expectation_never_changes_the_answer_to_another(drawn) -> None:
    frame, asked = drawn
    alone = {}
    for place, case in enumerate(asked):
        with suppress(ContractFileError):
            alone[place] = by_polars(frame.lazy(), [case])[0]

    together = by_polars(frame.lazy(), [asked[place] for place in alone])

    for place, result in zip(alone, together, strict=True):
        assert same(told(result), told(alone[place])), asked[place]


def long_frame() -> pl.DataFrame:
    return pl.concat([ORDINARY_FRAME] * 300)


def in_chunks(frame: pl.DataFrame) -> pl.LazyFrame:
    return pl.concat([frame[at : at + 7] for at in range(0, len(frame), 7)], rechunk=False).lazy()


def test_chunks_and_files_hold_what_the_frame_holds(tmp_path) -> None:
    frame = long_frame()
    frame.write_parquet(tmp_path / "one.parquet", row_group_size=50)
    for at in range(3):
        frame[at * 600 : (at + 1) * 600].write_parquet(tmp_path / f"part-{at}.parquet")

    whole = by_polars(frame.lazy(), CASES)

    scans = [in_chunks(frame), pl.scan_parquet(tmp_path / "one.parquet")]
    for scan in [*scans, pl.scan_parquet(tmp_path / "part-*.parquet")]:
        for case, one, other in zip(CASES, by_polars(scan, CASES), whole, strict=True):
            assert same(told(one), told(other)), case


def test_the_order_of_rows_matters_only_to_what_is_about_order() -> None:
    cases = [case for case in CASES if "creasing" not in case[0]]
    ours = by_polars(long_frame().lazy(), cases)

    shuffled = by_polars(long_frame().sample(fraction=1, shuffle=True, seed=3).lazy(), cases)

    for case, one, other in zip(cases, ours, shuffled, strict=True):
        listed = ("partial_unexpected_list", "partial_unexpected_index_list")
        counts = [dict(r.result) for r in (one, other)]
        for count in counts:
            for key in (*listed, "partial_unexpected_counts"):
                count.pop(key, None)
        assert one.success == other.success, case
        assert same(*map(plain, counts)), case


def test_examples_are_the_first_broken_rows() -> None:
    frame = long_frame()
    cases = [case for case in CASES if case[0] in {*ROWS, *PAIRS, *RECORDS}]

    for kind, kwargs in cases:
        assert difference(Case(frame, kind, kwargs)) is None


BIG = [2**53 + 1, 2**53, 2**53 + 3, None, 2**53 + 1, 2**63 - 1]


@pytest.mark.parametrize(
    ("kind", "kwargs", "broken"),
    [
        ("expect_column_values_to_be_unique", {}, [0, 4]),
        ("expect_column_values_to_be_in_set", {"value_set": [2**53 + 1, 2**63 - 1]}, [1, 2]),
        ("expect_column_values_to_not_be_in_set", {"value_set": [2**53]}, [1]),
        ("expect_column_values_to_be_increasing", {}, [1, 4]),
        ("expect_column_values_to_be_increasing", {"strictly": True}, [1, 4]),
    ],
)
def test_whole_numbers_keep_every_digit_beside_gaps(kind, kwargs, broken) -> None:
    scan = pl.LazyFrame({"id": BIG})

    [result] = by_polars(scan, [(kind, {"column": "id"} | kwargs)])

    assert result.result["partial_unexpected_index_list"] == broken
    assert result.result["partial_unexpected_list"] == [BIG[row] for row in broken]


@pytest.mark.parametrize(
    ("kind", "observed"),
    [
        ("expect_column_max_to_be_between", 2**63 - 1),
        ("expect_column_min_to_be_between", 2**53),
        ("expect_column_unique_value_count_to_be_between", 4),
    ],
)
def test_aggregates_of_large_whole_numbers_are_exact(kind, observed) -> None:
    [result] = by_polars(pl.LazyFrame({"id": BIG}), [(kind, {"column": "id", "min_value": 1})])

    assert result.result["observed_value"] == observed


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String, pl.Date, pl.Datetime])
def test_a_column_of_gaps_has_no_extremes(dtype) -> None:
    scan = pl.LazyFrame({"x": [None, None]}, schema={"x": dtype})

    [result] = by_polars(scan, [("expect_column_max_to_be_between", {"column": "x"})])

    # Pandas takes the missing time NaT for a time, and would be content with it.
    assert not result.success
    assert result.result["observed_value"] is None


def test_the_length_of_a_list_is_the_number_of_its_elements() -> None:
    scan = pl.LazyFrame({"x": [[], [1], [10, 20], None]})
    asked = [("expect_column_value_lengths_to_be_between", {"column": "x", "min_value": 1})]

    [result] = by_polars(scan, asked)

    assert result.result["partial_unexpected_list"] == [[]]


def test_the_extremes_of_dates_are_compared_with_dates_and_left_to_pandas_with_times() -> None:
    days = [date(2020, 1, 1), date(2020, 1, 2)]
    frame = pl.DataFrame({"d": days})
    last = ("expect_column_max_to_be_between", {"column": "d", "max_value": date(2020, 1, 2)})
    later = ("expect_column_max_to_be_between", {"column": "d", "max_value": "2020-01-02 01:00:00"})

    [by_date, by_time] = by_polars(frame.lazy(), [last, later])

    assert by_date.success
    assert by_date.result["observed_value"] == days[-1]
    # A date and a time do not compare in Python; pandas makes times of the dates.
    assert refused(by_time)


def test_arguments_that_do_not_fit_spoil_no_other_expectation() -> None:
    between, mixed = "expect_column_values_to_be_between", {"column": "t"}
    mixed |= {"min_value": date(2020, 1, 1), "max_value": datetime(2020, 1, 3)}  # noqa: DTZ001
    frame = ORDINARY_FRAME.with_columns(pl.col("t").alias("d2").cast(pl.Date))

    results = by_polars(
        frame.lazy(),
        [
            (between, mixed),
            (between, mixed | {"column": "d2"}),
            ("expect_column_values_to_be_in_set", {"column": "f", "value_set": [10**400, 0.5]}),
            ("expect_column_values_to_not_be_null", {"column": "i"}),
        ],
    )

    assert [refused(result) for result in results] == [False, True, True, False]
    assert results[0].result["unexpected_count"] == 3
    assert results[3].result["unexpected_count"] == 1


@pytest.mark.parametrize(("unit", "ticks", "broken"), [("ns", 1500, 1), ("us", 2, 1), ("ms", 0, 0)])
def test_bounds_of_times_are_compared_to_the_last_digit(unit, ticks, broken) -> None:
    scan = pl.LazyFrame({"t": [0, ticks]}).select(pl.col("t").cast(pl.Datetime(unit)))
    bounds = {"column": "t", "min_value": "0001-01-01 00:00:00"}
    bounds |= {"max_value": "1970-01-01 00:00:00.000001"}

    [result] = by_polars(scan, [("expect_column_values_to_be_between", bounds)])

    assert result.result["unexpected_count"] == broken


def test_sums_do_not_wrap_around() -> None:
    large = 2**62
    scan = pl.LazyFrame({"x": [large] * 4, "y": [large] * 4})
    record = {"column_list": ["x", "y"], "sum_total": -(2**63)}

    [total, each] = by_polars(
        scan, [("expect_column_sum_to_be_between", {"column": "x"}), (RECORDS[1], record)]
    )

    assert total.result["observed_value"] == 4 * large
    assert each.result["unexpected_count"] == 4


def test_a_decimal_reaches_the_bound_it_is_written_like() -> None:
    scan = pl.LazyFrame({"x": [Decimal("0.10"), Decimal("0.05")]})
    bounds = {"column": "x", "min_value": 0.1}

    [result] = by_polars(scan, [("expect_column_values_to_be_between", bounds)])

    # To pandas 0.10 is below 0.1, which as a float is a little more than a tenth.
    assert result.result["partial_unexpected_list"] == [Decimal("0.05")]
