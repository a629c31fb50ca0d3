"""Counts: the share is exact, and every expectation has its own finding."""

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


def expect(kind: str, severity: str = "critical", **kwargs: object) -> Expectation:
    return Expectation(type=kind, kwargs=kwargs, severity=severity)


def list_findings(frame: pl.DataFrame, *expectations: Expectation) -> list[Finding]:
    contract = Contract(name="c", columns={}, expectations=expectations)
    return list(check_rows(frame.lazy(), contract).findings)


EXPECTATIONS = (
    expect(NOT_NULL, column="x", mostly=0.5),
    expect(IN_SET, column="text", value_set=["a", "b"], mostly=0.75),
    expect(BETWEEN, "warning", column="x", min_value=-1, max_value=1),
    expect(REGEX, column="text", regex="^[ab]$"),
    expect(
        GREATER, column_A="x", column_B="y", or_equal=True, ignore_row_if="either_value_is_missing"
    ),
    expect(NULL, column="list", mostly=0.5),
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
def test_the_counts_are_those_of_polars(rows: list[tuple]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")

    result = {finding.rule: finding for finding in list_findings(frame, *EXPECTATIONS)}

    x, text = frame["x"].fill_nan(None), frame["text"].drop_nulls()
    beyond = (x.drop_nulls().abs() > 1).sum()
    others = (text == "c").sum()
    assert result[NOT_NULL].observed.startswith(f"{x.null_count()} of {len(frame)} values")
    assert result[BETWEEN].observed.startswith(f"{beyond} of {x.count()} values")
    assert result[IN_SET].observed.startswith(f"{others} of {len(text)} values")
    assert result[BETWEEN].passed == (beyond == 0)
    assert result[IN_SET].passed == (others <= 0.25 * len(text))
    assert result[NOT_NULL].passed == (x.null_count() <= 0.5 * len(frame))


@settings(max_examples=12)
@given(st.integers(1, 1000), st.data())
def test_exactly_the_share_of_mostly_is_enough(rows: int, data) -> None:
    good = data.draw(st.integers(0, rows - 1))
    frame = pl.DataFrame({"x": [1] * good + [0] * (rows - good)})

    enough, few = list_findings(
        frame,
        expect(IN_SET, column="x", value_set=[1], mostly=good / rows),
        expect(IN_SET, column="x", value_set=[1], mostly=(good + 1) / rows),
    )

    assert enough.passed
    assert not few.passed


def test_missing_values_are_ignored_by_rules_about_values() -> None:
    frame = pl.DataFrame({"x": [1.0, None, None, 9.0]})

    [finding] = list_findings(frame, expect(BETWEEN, column="x", max_value=5, mostly=0.5))

    assert finding.passed
    assert finding.observed == "1 of 2 values break it, such as 9.0"


@pytest.mark.parametrize(
    "second",
    [
        expect(NOT_NULL, column="x"),
        expect(NOT_NULL, "warning", column="x"),
        expect(NOT_NULL, column="x", mostly=0.5),
        expect(NOT_NULL, column="text"),
    ],
    ids=["the same", "less severe", "less strict", "of another column"],
)
def test_each_expectation_has_its_own_finding(second: Expectation) -> None:
    frame = pl.DataFrame({"x": [1.0, None], "text": ["a", "b"]})
    first = expect(NOT_NULL, column="x")

    both = list_findings(frame, first, second)

    assert both == list_findings(frame, first) + list_findings(frame, second)


def test_findings_have_the_severity_and_the_column_of_their_expectation() -> None:
    frame = pl.DataFrame({"x": [1.0, 1.0], "y": [1.0, 3.0]})

    result = list_findings(
        frame,
        expect(UNIQUE, "warning", column="x"),
        expect(NOT_NULL, column="y"),
        expect(GREATER, "warning", column_A="x", column_B="y"),
    )

    keys = {(f.rule, f.column, f.severity, f.passed) for f in result}
    assert keys == {
        (UNIQUE, "x", "warning", False),
        (NOT_NULL, "y", "critical", True),
        (GREATER, "x, y", "warning", False),
    }


def test_at_most_three_shortened_examples_are_shown() -> None:
    frame = pl.DataFrame({"text": [letter * 500 for letter in "abcdef"] * 3})

    [finding] = list_findings(frame, expect(IN_SET, column="text", value_set=["x"]))

    assert finding.observed.startswith("18 of 18 values break it, such as 'aaaa")
    assert finding.observed.count(", ") == 3
    assert len(finding.observed) < 300


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (expect(UNIQUE, column="id"), True),
        (expect(IN_SET, column="id", value_set=[2**60]), False),
        (expect(IN_SET, column="id", value_set=[2**60, 2**60 + 1]), True),
    ],
    ids=["unique", "one of two", "both"],
)
def test_large_integers_with_a_missing_one_are_exact(rule: Expectation, passes: bool) -> None:
    frame = pl.DataFrame({"id": [2**60, 2**60 + 1, None]})

    [finding] = list_findings(frame, rule)

    assert finding.passed is passes


@pytest.mark.parametrize(
    "rule",
    [
        expect(IN_SET, column="x"),
        expect(BETWEEN, column="x"),
        expect(NOT_NULL, column="x", mostly=2),
        expect(NOT_NULL, column="x", mostly="nearly all"),
        expect(NOT_NULL),
        expect("expect_table_row_count_to_be_between", min_value="many"),
    ],
    ids=["no set", "no bounds", "mostly above 1", "mostly in words", "no column", "rows in words"],
)
def test_invalid_arguments_are_an_error_of_the_contract(rule: Expectation) -> None:
    frame = pl.DataFrame({"x": [1.0]})

    with pytest.raises(ContractFileError, match=rule.type):
        list_findings(frame, rule)


@pytest.mark.parametrize(
    "rule",
    [
        expect(REGEX, column="text", regex="("),
        expect("expect_column_mean_to_be_between", column="text", min_value=0),
    ],
    ids=["value by value", "whole column"],
)
def test_a_check_that_raises_is_not_reported_as_bad_data(rule: Expectation) -> None:
    frame = pl.DataFrame({"text": ["a", "b"]})

    with pytest.raises(ValidatorBrokenError, match=f"{rule.type} could not be computed"):
        list_findings(frame, rule)


def test_an_empty_contract_is_met() -> None:
    assert list_findings(pl.DataFrame({"x": [1.0]})) == []
