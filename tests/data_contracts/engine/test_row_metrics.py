"""Counting: the share is exact, and no check is lost or mistaken for another."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.contract import Contract, ContractFileError, Expectation
from data_contracts.engine.gx import ValidatorBrokenError
from data_contracts.suite import Finding
from data_contracts.suite import check_contract as check_rows

NOT_NULL = "expect_column_values_to_not_be_null"
NULL = "expect_column_values_to_be_null"
IN_SET = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"
REGEX = "expect_column_values_to_match_regex"
GREATER = "expect_column_pair_values_a_to_be_greater_than_b"
UNIQUE = "expect_column_values_to_be_unique"


def promise(kind: str, severity: str = "critical", **kwargs: object) -> Expectation:
    return Expectation(type=kind, kwargs=kwargs, severity=severity)


def check(frame: pl.DataFrame, *promises: Expectation) -> list[Finding]:
    contract = Contract(name="c", columns={}, expectations=promises)
    return list(check_rows(frame.lazy(), contract).findings)


PROMISES = (
    promise(NOT_NULL, column="x", mostly=0.5),
    promise(IN_SET, column="text", value_set=["a", "b"], mostly=0.75),
    promise(BETWEEN, "warning", column="x", min_value=-1, max_value=1),
    promise(REGEX, column="text", regex="^[ab]$"),
    promise(
        GREATER, column_A="x", column_B="y", or_equal=True, ignore_row_if="either_value_is_missing"
    ),
    promise(NULL, column="list", mostly=0.5),
)

tables = st.lists(
    st.tuples(
        st.sampled_from([None, float("nan"), 0.0, 1.0, 5.0]),
        st.sampled_from([None, 0.0, 2.0]),
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from([None, [], [1.0]]),
    ),
    min_size=1,
    max_size=12,
)

SCHEMA = {"x": pl.Float64, "y": pl.Float64, "text": pl.String, "list": pl.List(pl.Float64)}


@settings(max_examples=12)
@given(tables)
def test_what_is_counted_is_what_polars_counts(rows: list[tuple]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")

    found = {finding.rule: finding for finding in check(frame, *PROMISES)}

    x, text = frame["x"].fill_nan(None), frame["text"].drop_nulls()
    beyond = (x.drop_nulls().abs() > 1).sum()
    strangers = (text == "c").sum()
    assert found[NOT_NULL].observed.startswith(f"{x.null_count()} of {len(frame)} values")
    assert found[BETWEEN].observed.startswith(f"{beyond} of {x.count()} values")
    assert found[IN_SET].observed.startswith(f"{strangers} of {len(text)} values")
    assert found[BETWEEN].passed == (beyond == 0)
    assert found[IN_SET].passed == (strangers <= 0.25 * len(text))
    assert found[NOT_NULL].passed == (x.null_count() <= 0.5 * len(frame))


@settings(max_examples=12)
@given(st.integers(1, 1000), st.data())
def test_just_as_many_as_mostly_asks_for_are_enough(rows: int, data) -> None:
    good = data.draw(st.integers(0, rows - 1))
    frame = pl.DataFrame({"x": [1] * good + [0] * (rows - good)})

    enough, few = check(
        frame,
        promise(IN_SET, column="x", value_set=[1], mostly=good / rows),
        promise(IN_SET, column="x", value_set=[1], mostly=(good + 1) / rows),
    )

    assert enough.passed
    assert not few.passed


def test_values_that_are_missing_are_not_judged_by_what_values_must_be() -> None:
    frame = pl.DataFrame({"x": [1.0, None, None, 9.0]})

    [finding] = check(frame, promise(BETWEEN, column="x", max_value=5, mostly=0.5))

    assert finding.passed
    assert finding.observed == "1 of 2 values break it, such as 9.0"


@pytest.mark.parametrize(
    "second",
    [
        promise(NOT_NULL, column="x"),
        promise(NOT_NULL, "warning", column="x"),
        promise(NOT_NULL, column="x", mostly=0.5),
        promise(NOT_NULL, column="text"),
    ],
    ids=["the same", "less severe", "less strict", "of another column"],
)
def test_each_promise_has_a_finding_of_its_own(second: Expectation) -> None:
    frame = pl.DataFrame({"x": [1.0, None], "text": ["a", "b"]})
    first = promise(NOT_NULL, column="x")

    both = check(frame, first, second)

    assert both == check(frame, first) + check(frame, second)


def test_findings_about_values_and_about_whole_columns_keep_their_severity_and_column() -> None:
    frame = pl.DataFrame({"x": [1.0, 1.0], "y": [1.0, 3.0]})

    found = check(
        frame,
        promise(UNIQUE, "warning", column="x"),
        promise(NOT_NULL, column="y"),
        promise(GREATER, "warning", column_A="x", column_B="y"),
    )

    places = {(f.rule, f.column, f.severity, f.passed) for f in found}
    assert places == {
        (UNIQUE, "x", "warning", False),
        (NOT_NULL, "y", "critical", True),
        (GREATER, "x, y", "warning", False),
    }


def test_no_more_than_three_examples_are_shown_and_none_at_length() -> None:
    frame = pl.DataFrame({"text": [letter * 500 for letter in "abcdef"] * 3})

    [finding] = check(frame, promise(IN_SET, column="text", value_set=["x"]))

    assert finding.observed.startswith("18 of 18 values break it, such as 'aaaa")
    assert finding.observed.count(", ") == 3
    assert len(finding.observed) < 300


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (promise(UNIQUE, column="id"), True),
        (promise(IN_SET, column="id", value_set=[2**60]), False),
        (promise(IN_SET, column="id", value_set=[2**60, 2**60 + 1]), True),
    ],
    ids=["unique", "one of two", "both"],
)
def test_large_whole_numbers_keep_their_digits_beside_a_missing_one(
    rule: Expectation, kept: bool
) -> None:
    frame = pl.DataFrame({"id": [2**60, 2**60 + 1, None]})

    [finding] = check(frame, rule)

    assert finding.passed is kept


@pytest.mark.parametrize(
    "rule",
    [
        promise(IN_SET, column="x"),
        promise(BETWEEN, column="x"),
        promise(NOT_NULL, column="x", mostly=2),
        promise(NOT_NULL, column="x", mostly="nearly all"),
        promise(NOT_NULL),
        promise("expect_table_row_count_to_be_between", min_value="many"),
    ],
    ids=["no set", "no bounds", "mostly above 1", "mostly in words", "no column", "rows in words"],
)
def test_arguments_that_do_not_fit_are_the_contracts_fault(rule: Expectation) -> None:
    frame = pl.DataFrame({"x": [1.0]})

    with pytest.raises(ContractFileError, match=rule.type):
        check(frame, rule)


@pytest.mark.parametrize(
    "rule",
    [
        promise(REGEX, column="text", regex="("),
        promise("expect_column_mean_to_be_between", column="text", min_value=0),
    ],
    ids=["value by value", "whole column"],
)
def test_a_check_that_breaks_down_says_so_rather_than_blame_the_data(rule: Expectation) -> None:
    frame = pl.DataFrame({"text": ["a", "b"]})

    with pytest.raises(ValidatorBrokenError, match=f"{rule.type} could not be computed"):
        check(frame, rule)


def test_a_contract_that_promises_nothing_is_kept() -> None:
    assert check(pl.DataFrame({"x": [1.0]})) == []
