"""Order statistics and duplicates are exact, however few values are in memory at once."""

import math
import statistics
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.engine import aggregates, quantiles, uniqueness

VALUE = pl.col("x")

few = st.sampled_from([0, 1, 2, 5])
wide = st.integers(-(2**63), 2**63 - 1)
real = st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf, 0.0, -0.0])

columns = st.one_of(
    st.lists(few, min_size=1, max_size=300).map(lambda xs: pl.Series("x", xs, dtype=pl.Int64)),
    st.lists(wide, min_size=1, max_size=100).map(lambda xs: pl.Series("x", xs, dtype=pl.Int64)),
    st.lists(real, min_size=1, max_size=100).map(lambda xs: pl.Series("x", xs, dtype=pl.Float64)),
)


@given(column=columns, data=st.data(), short=st.integers(0, 40))
def test_an_order_statistic_is_that_of_the_sorted_column(column, data, short) -> None:
    ranks = st.lists(st.integers(0, len(column) - 1), min_size=1, max_size=4)
    wanted = data.draw(ranks)

    result = quantiles.compute_order_statistics(
        column.to_frame().lazy(), VALUE, wanted, max_sorted=short
    )

    ordered = sorted(column.to_list())
    assert result == [ordered[rank] for rank in wanted]


def organ_pipe(rows: int) -> list[int]:
    return [*range(rows // 2), *range(rows - rows // 2, 0, -1)]


ORDERS = {
    "rising": list(range(5000)),
    "falling": list(range(5000, 0, -1)),
    "one value": [7] * 5000,
    "organ pipe": organ_pipe(5000),
    "unrepresentative sample": [10**9 if row % 5 == 0 else row for row in range(5000)],
    "one outlier": [0] * 4999 + [2**62],
    "saw": [row % 17 for row in range(5000)],
    "infinite": [math.inf if row % 3 else -math.inf for row in range(5000)],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("short", [0, 4, 100, 1000, 4999])
def test_the_search_is_right_for_any_row_order(order, short) -> None:
    values = ORDERS[order]
    wanted = [0, 1, 49, 2499, 2500, 4998, 4999]

    result = quantiles.compute_order_statistics(
        pl.LazyFrame({"x": values}), VALUE, wanted, max_sorted=short
    )

    ordered = sorted(values)
    assert result == [ordered[rank] for rank in wanted]


@given(
    column=columns,
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    short=st.sampled_from([0, 10, 1000]),
)
def test_quantiles_are_the_nearest_of_numpy(column, shares, short) -> None:
    with_gaps = pl.concat([column, pl.Series("x", [None, None], dtype=column.dtype)])

    result = quantiles.compute_quantiles(
        with_gaps.to_frame().lazy(), VALUE, shares, max_sorted=short
    )

    expected = [np.quantile(column.to_numpy(), share, method="nearest") for share in shares]
    assert result == expected


@given(values=st.lists(st.integers(-100, 100), min_size=1, max_size=99), short=few)
def test_the_median_is_the_middle(values, short) -> None:
    result = quantiles.compute_median(pl.LazyFrame({"x": values}), VALUE, max_sorted=short)

    assert result == statistics.median(values)


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
def test_an_empty_column_has_no_median_and_no_quantiles(dtype) -> None:
    scan = pl.LazyFrame({"x": [None, None]}, schema={"x": dtype})

    assert math.isnan(quantiles.compute_median(scan, VALUE))
    assert [math.isnan(q) for q in quantiles.compute_quantiles(scan, VALUE, [0.5])] == [True]


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ([math.inf, math.inf, -math.inf, math.inf], math.inf),
        ([-math.inf, -2.0], -math.inf),
        ([-math.inf, -math.inf, -2.0, -2.0], -math.inf),
        ([1e308, 1.5e308], 1.25e308),
        ([2**62, 2**62 + 2], 2.0**62),
    ],
)
def test_the_median_of_extreme_values_is_finite(values, middle) -> None:
    assert quantiles.compute_median(pl.LazyFrame({"x": values}), VALUE) == middle


TEXTS = ["", "a", "b", "\u00e9", "e\u0301"]
rows = st.lists(
    st.tuples(
        st.none() | st.integers(0, 4),
        st.none() | st.sampled_from(TEXTS),
        st.booleans(),
    ),
    max_size=40,
)


def make_frame(tuples: list[tuple]) -> pl.DataFrame:
    schema = {"x": pl.Int64, "s": pl.String, "evaluated": pl.Boolean}
    return pl.DataFrame(tuples, schema=schema, orient="row")


def find_repeats(tuples: list[tuple], width: int) -> list[int]:
    counts = Counter(row[:width] for row in tuples if row[2])
    return [index for index, row in enumerate(tuples) if row[2] and counts[row[:width]] > 1]


KEYS = {1: {"key0": pl.col("x")}, 2: {"key0": pl.col("x"), "key1": pl.col("s")}}


@pytest.mark.parametrize("width", [1, 2])
@given(tuples=rows, capacity=st.integers(1, 50))
@settings(max_examples=60)
def test_duplicates_are_those_of_plain_python(width, tuples, capacity) -> None:
    scan, keys, evaluated = make_frame(tuples).lazy(), KEYS[width], pl.col("evaluated")

    count = uniqueness.count_duplicates(scan, keys, evaluated, max_in_memory=capacity)
    result = list(uniqueness.find_duplicates(scan, keys, evaluated, max_in_memory=capacity))

    expected = find_repeats(tuples, width)
    assert count == len(expected)
    assert sorted(number for part in result for number in part) == expected


@given(tuples=rows, limit=st.integers(0, 5))
@settings(max_examples=60)
def test_the_first_duplicates_are_first_in_row_order(tuples, limit) -> None:
    scan = make_frame(tuples).lazy()

    result = uniqueness.find_first_duplicates(scan, KEYS[2], pl.col("evaluated"), limit=limit)

    assert result.to_list() == find_repeats(tuples, 2)[:limit]


def test_the_first_duplicates_are_first_across_slices(monkeypatch) -> None:
    values = [*range(500), *range(500)]
    slice_by_hash = uniqueness.slice_by_hash
    monkeypatch.setattr(
        uniqueness, "slice_by_hash", lambda rows, names, _max: slice_by_hash(rows, names, 10)
    )

    result = uniqueness.find_first_duplicates(
        pl.LazyFrame({"x": values}), KEYS[1], pl.lit(value=True), limit=20
    )

    assert result.to_list() == list(range(20))


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Date, pl.Float64, pl.String])
def test_a_key_that_only_grows_has_no_duplicates(dtype) -> None:
    column = pl.Series("x", range(100)).cast(pl.Int32).cast(dtype)

    count = uniqueness.count_duplicates(
        column.to_frame().lazy(), KEYS[1], pl.lit(value=True), max_in_memory=7
    )

    assert count == 0


@pytest.mark.parametrize("values", [[1, 2, 2], [1, None, 1], [None, None], [3, 1, 3], [2, 2, 1]])
def test_missing_and_decreasing_values_are_not_increasing(values) -> None:
    scan = pl.LazyFrame({"x": values}, schema={"x": pl.Int64})

    count = uniqueness.count_duplicates(scan, KEYS[1], pl.lit(value=True))

    assert count == 2


@given(tuples=rows, capacity=st.integers(1, 50), name=st.sampled_from("xs"))
@settings(max_examples=60)
def test_distinct_values_are_counted_without_missing_ones(tuples, capacity, name) -> None:
    frame = make_frame(tuples)

    count = aggregates.count_distinct(frame.lazy(), pl.col(name), max_in_memory=capacity)

    assert count == len(set(frame[name].drop_nulls()))


@given(values=st.lists(st.sampled_from([0.0, -0.0, 1.5, math.inf, -math.inf]), max_size=20))
@settings(max_examples=40)
def test_both_zeros_are_one_value(values) -> None:
    scan = pl.LazyFrame({"x": values}, schema={"x": pl.Float64})
    counts = Counter(values)

    many = uniqueness.count_duplicates(scan, KEYS[1], pl.lit(value=True), max_in_memory=3)

    assert aggregates.count_distinct(scan, VALUE, max_in_memory=3) == len(counts)
    assert many == sum(count for count in counts.values() if count > 1)
