"""Drafted contracts: expectations that the data meets today, and no others."""

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_contracts.contract import Contract
from data_contracts.draft import MAX_SET_VALUES, draft_contract
from data_contracts.suite import Finding, check_contract

NOT_NULL = "expect_column_values_to_not_be_null"
IN_SET = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"


def draft_test_contract(frame: pl.DataFrame, target: str | None = None) -> Contract:
    columns = tuple(frame.columns)
    return draft_contract(frame.lazy(), name="c", required_columns=columns, target=target)


def find_broken(frame: pl.DataFrame, contract: Contract) -> list[Finding]:
    findings = check_contract(frame.lazy(), contract).findings
    return [finding for finding in findings if not finding.passed]


def list_rules(contract: Contract) -> list[tuple[str, str | None]]:
    return [(e.type, e.kwargs.get("column")) for e in contract.expectations]


def find_range(contract: Contract, column: str) -> tuple[float, float]:
    [kwargs] = [
        e.kwargs
        for e in contract.expectations
        if (e.type, e.kwargs.get("column")) == (BETWEEN, column)
    ]
    return kwargs["min_value"], kwargs["max_value"]


EVERY_TYPE = pl.DataFrame(
    {
        "float": [0.5, float("nan")],
        "short": pl.Series([0.1, None], dtype=pl.Float32),
        "whole": pl.Series([2**62 + 1, -1], dtype=pl.Int64),
        "byte": pl.Series([0, 255], dtype=pl.UInt8),
        "text": ["\u00e9", None],
        "truth": [True, None],
        "day": [date(2024, 2, 29), None],
        "moment": [datetime(2024, 1, 1, tzinfo=UTC), None],
        "span": [timedelta(days=1), None],
        "clock": [time(1), None],
        "money": [Decimal("1.25"), None],
        "bytes": [b"\xff\x00", b""],
        "list": [[1.0, None], []],
        "array": pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float64, 2)),
        "struct": [{"a": 1}, {"a": None}],
        "category": pl.Series(["a", "b"], dtype=pl.Categorical),
        "choice": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
        "nothing": [None, None],
    }
)


def test_data_of_every_type_meets_the_contract_drafted_from_it() -> None:
    contract = draft_test_contract(EVERY_TYPE)

    assert find_broken(EVERY_TYPE, contract) == []
    not_null_columns = {column for rule, column in list_rules(contract) if rule == NOT_NULL}
    missing = {name for name in EVERY_TYPE.columns if EVERY_TYPE[name].null_count()} | {"float"}
    assert not_null_columns == set(EVERY_TYPE.columns) - missing


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=6), st.floats(-1e12, 1e12), st.integers(-12, 0))
@example([0.2, 0.9], 101_325.0, 0)
def test_the_drafted_range_contains_all_values(
    numbers: list[float], offset: float, exponent: int
) -> None:
    values = offset + np.clip(numbers, -1e3, 1e3) * 10.0**exponent
    frame = pl.DataFrame({"x": values})

    low, high = find_range(draft_test_contract(frame), "x")

    assert low <= values.min()
    assert values.max() <= high


@pytest.mark.parametrize("offset", [0.0, 101_325.0, 1_000_000.0, -1e9])
def test_a_range_far_from_zero_has_the_margin_of_one_at_zero(offset: float) -> None:
    low, high = find_range(draft_test_contract(pl.DataFrame({"x": [offset, offset + 0.5]})), "x")

    assert high - low == pytest.approx(1.5, rel=0.05)


def test_large_numbers_of_small_range_meet_their_own_contract() -> None:
    frame = pl.DataFrame({"pressure": [101_325.2, 101_325.9, 101_326.4]})

    assert find_broken(frame, draft_test_contract(frame)) == []


def test_columns_with_missing_values_are_optional_except_the_target() -> None:
    frame = pl.DataFrame({"x": [1.0, None], "y": [1.0, float("nan")], "label": ["a", None]})

    rules = list_rules(draft_test_contract(frame, "label"))

    assert (NOT_NULL, "label") in rules
    assert {(NOT_NULL, "x"), (NOT_NULL, "y")}.isdisjoint(rules)


@pytest.mark.parametrize("count", [MAX_SET_VALUES, MAX_SET_VALUES + 1])
@pytest.mark.parametrize("kind", [str, int])
def test_the_classes_of_a_target_are_required_while_they_are_few(kind: type, count: int) -> None:
    values = [kind(number) for number in range(count)]
    frame = pl.DataFrame({"other": values, "label": values})

    contract = draft_test_contract(frame, "label")

    sets = [e for e in contract.expectations if e.type == IN_SET]
    assert [(e.kwargs["column"], e.severity) for e in sets] == (
        [("label", "warning")] if count <= MAX_SET_VALUES else []
    )
    assert all(e.kwargs["value_set"] == sorted(values) for e in sets)


def test_no_range_is_required_of_a_column_with_infinite_values() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, float("inf"), float("nan"), None]})
    contract = draft_test_contract(frame)

    assert (BETWEEN, "x") not in list_rules(contract)
    assert find_broken(frame, contract) == []


@pytest.mark.parametrize(
    ("target", "new_classes"),
    [([True, True], [False]), ([1, 2], [3]), (["a", "b"], ["B"])],
    ids=["truth", "numbers", "texts"],
)
def test_a_new_class_is_a_warning_that_names_it(target: list, new_classes: list) -> None:
    contract = draft_test_contract(pl.DataFrame({"label": target}), "label")

    [finding] = find_broken(pl.DataFrame({"label": target + new_classes}), contract)

    assert (finding.rule, finding.column, finding.severity) == (IN_SET, "label", "warning")
    assert finding.observed == f"1 of 3 values break it, such as {new_classes[0]!r}"


def test_an_empty_table_breaks_the_required_row_count() -> None:
    full = pl.DataFrame({"x": [1.0], "label": ["a"]})

    [finding] = find_broken(full[:0], draft_test_contract(full, "label"))

    assert finding.rule == "expect_table_row_count_to_be_between"
    assert finding.severity == "critical"


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (lambda frame: frame.drop("day"), "missing"),
        (lambda frame: frame.rename({"day": "Day"}), "missing"),
        (lambda frame: frame.with_columns(pl.col("day").cast(pl.String)), "String"),
        (lambda frame: frame.with_columns(pl.col("day").cast(pl.Datetime("us"))), "Datetime"),
    ],
    ids=["dropped", "renamed", "as text", "as a moment"],
)
def test_a_changed_column_is_named_with_its_values(change, result: str) -> None:
    frame = pl.DataFrame({"day": [date(2024, 1, 1)], "x": [1.0]})

    findings = check_contract(change(frame).lazy(), draft_test_contract(frame)).findings

    [finding] = [finding for finding in findings if not finding.passed]
    assert (finding.column, finding.severity) == ("day", "critical")
    assert finding.observed.startswith(result)


def test_a_new_column_is_accepted() -> None:
    frame = pl.DataFrame({"x": [1.0]})

    assert find_broken(frame.with_columns(new=pl.lit("y")), draft_test_contract(frame)) == []


def test_only_existing_columns_that_the_job_needs_are_required() -> None:
    frame = pl.DataFrame({"x": [1.0], "secret": ["y"]})

    contract = draft_contract(
        frame.lazy(), name="c", required_columns=("x", "gone", "x"), target=None
    )

    assert contract.columns == {"x": "Float64"}
    assert {column for _, column in list_rules(contract)} == {None, "x"}


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32])
def test_an_infinite_target_is_broken_like_one_that_is_missing(dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}, schema={"x": dtype})
    contract = draft_test_contract(frame, "x")
    worse = pl.DataFrame({"x": [1.0, math.inf, -math.inf, math.nan]}, schema={"x": dtype})

    broken = check_contract(worse.lazy(), contract).broken

    assert sum(each.count for each in broken) == 3
    assert find_broken(frame, contract) == []
