"""Predicates on single values: the Polars engine returns what GX's pandas engine returns."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gx_cases import BIG, ROWS, column_cases, find_difference, run_polars


@pytest.mark.parametrize("kind", ROWS)
@given(data=st.data())
@settings(max_examples=20)
def test_a_column_has_the_same_result_as_in_pandas(kind, data) -> None:
    case = data.draw(column_cases(kind))

    assert find_difference(case) is None


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
def test_integers_with_missing_values_are_exact(kind, kwargs, broken) -> None:
    scan = pl.LazyFrame({"id": BIG})

    [result] = run_polars(scan, [(kind, {"column": "id"} | kwargs)])

    assert result.result["partial_unexpected_index_list"] == broken
    assert result.result["partial_unexpected_list"] == [BIG[row] for row in broken]


def test_the_length_of_a_list_is_the_number_of_its_elements() -> None:
    scan = pl.LazyFrame({"x": [[], [1], [10, 20], None]})
    expectations = [("expect_column_value_lengths_to_be_between", {"column": "x", "min_value": 1})]

    [result] = run_polars(scan, expectations)

    assert result.result["partial_unexpected_list"] == [[]]


@pytest.mark.parametrize(("unit", "ticks", "broken"), [("ns", 1500, 1), ("us", 2, 1), ("ms", 0, 0)])
def test_bounds_of_times_are_compared_exactly(unit, ticks, broken) -> None:
    scan = pl.LazyFrame({"t": [0, ticks]}).select(pl.col("t").cast(pl.Datetime(unit)))
    bounds = {"column": "t", "min_value": "0001-01-01 00:00:00"}
    bounds |= {"max_value": "1970-01-01 00:00:00.000001"}

    [result] = run_polars(scan, [("expect_column_values_to_be_between", bounds)])

    assert result.result["unexpected_count"] == broken


def test_a_decimal_equals_a_bound_that_is_written_the_same() -> None:
    scan = pl.LazyFrame({"x": [Decimal("0.10"), Decimal("0.05")]})
    bounds = {"column": "x", "min_value": 0.1}

    [result] = run_polars(scan, [("expect_column_values_to_be_between", bounds)])

    # To pandas 0.10 is below 0.1, which as a float is a little more than a tenth.
    assert result.result["partial_unexpected_list"] == [Decimal("0.05")]
