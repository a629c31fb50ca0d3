"""Column aggregates: the Polars engine returns what GX's pandas engine returns."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gx_cases import (
    AGGREGATES,
    BIG,
    MULTICOLUMN,
    column_cases,
    find_difference,
    is_unsupported,
    run_polars,
)


@pytest.mark.parametrize("kind", AGGREGATES)
@given(data=st.data())
@settings(max_examples=20)
def test_a_column_has_the_same_result_as_in_pandas(kind, data) -> None:
    case = data.draw(column_cases(kind))

    assert find_difference(case) is None


@pytest.mark.parametrize(
    ("kind", "observed"),
    [
        ("expect_column_max_to_be_between", 2**63 - 1),
        ("expect_column_min_to_be_between", 2**53),
        ("expect_column_unique_value_count_to_be_between", 4),
    ],
)
def test_aggregates_of_large_whole_numbers_are_exact(kind, observed) -> None:
    [result] = run_polars(pl.LazyFrame({"id": BIG}), [(kind, {"column": "id", "min_value": 1})])

    assert result.result["observed_value"] == observed


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String, pl.Date, pl.Datetime])
def test_a_column_of_missing_values_has_no_minimum_or_maximum(dtype) -> None:
    scan = pl.LazyFrame({"x": [None, None]}, schema={"x": dtype})

    [result] = run_polars(scan, [("expect_column_max_to_be_between", {"column": "x"})])

    # Pandas takes the missing time NaT for a time, and would be content with it.
    assert not result.success
    assert result.result["observed_value"] is None


def test_extremes_of_dates_are_compared_with_dates_and_with_times_by_pandas() -> None:
    days = [date(2020, 1, 1), date(2020, 1, 2)]
    frame = pl.DataFrame({"d": days})
    last = ("expect_column_max_to_be_between", {"column": "d", "max_value": date(2020, 1, 2)})
    later = ("expect_column_max_to_be_between", {"column": "d", "max_value": "2020-01-02 01:00:00"})

    [by_date, by_time] = run_polars(frame.lazy(), [last, later])

    assert by_date.success
    assert by_date.result["observed_value"] == days[-1]
    # A date and a time do not compare in Python; pandas makes times of the dates.
    assert is_unsupported(by_time)


def test_sums_do_not_overflow() -> None:
    large = 2**62
    scan = pl.LazyFrame({"x": [large] * 4, "y": [large] * 4})
    record = {"column_list": ["x", "y"], "sum_total": -(2**63)}

    [total, each] = run_polars(
        scan, [("expect_column_sum_to_be_between", {"column": "x"}), (MULTICOLUMN[1], record)]
    )

    assert total.result["observed_value"] == 4 * large
    assert each.result["unexpected_count"] == 4
