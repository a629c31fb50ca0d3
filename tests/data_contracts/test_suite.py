"""Contracts: met by the data they are drafted from; findings name the rule and the column."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.contract import (
    Contract,
    ContractFileError,
    Expectation,
    format_contract,
    read_contract,
)
from data_contracts.draft import draft_contract
from data_contracts.engine.gx import ValidatorBrokenError
from data_contracts.suite import check_columns, check_contract

NOT_NULL = "expect_column_values_to_not_be_null"
IN_SET = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"


def findings(frame: pl.DataFrame, contract: Contract) -> dict:
    result = check_contract(frame.lazy(), replace(contract, columns={})).findings
    return {(finding.rule, finding.column): finding for finding in result}


def make_contract(kind: str, severity: str = "critical", **kwargs: object) -> Contract:
    rule = Expectation(type=kind, kwargs=kwargs, severity=severity)
    return Contract(name="c", columns={}, expectations=(rule,))


def test_a_contract_survives_its_file(tmp_path: Path) -> None:
    contract = Contract(
        name="weather",
        columns={"temp": "Float64", "\u00fc": "String"},
        expectations=(
            Expectation(type=NOT_NULL, kwargs={"column": "temp", "mostly": 0.9}),
            Expectation(
                type=IN_SET,
                kwargs={"column": "\u00fc", "value_set": ["a", 1]},
                severity="warning",
            ),
        ),
    )
    path = tmp_path / "weather.yaml"
    path.write_text(format_contract(contract), encoding="utf-8")

    assert read_contract(path) == contract


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected the keys name, columns and expectations"),
        ("name: x\ncolums: {}\n", "unknown keys: colums"),
        ("expectations: [{kwargs: {}}]\n", r"expectations\[0\]: expected type"),
        (
            "expectations: [{type: t, severity: high}]\n",
            r"expectations\[0\].severity: 'high' is neither",
        ),
        ("a: [\n", "is not YAML"),
    ],
)
def test_an_invalid_file_is_rejected_with_the_position(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ContractFileError, match=message):
        read_contract(path)


cells = st.fixed_dictionaries(
    {
        "number": st.one_of(st.none(), st.floats(allow_infinity=False)),
        "whole": st.integers(-1000, 1000),
        "text": st.one_of(st.none(), st.text(max_size=3)),
        "truth": st.booleans(),
        "day": st.dates(date(2000, 1, 1), date(2030, 1, 1)),
        "list": st.lists(st.floats(0, 1), max_size=2),
        "label": st.sampled_from(["a", "b", "\u00e9"]),
    }
)
SCHEMA = {
    "number": pl.Float64,
    "whole": pl.Int64,
    "text": pl.String,
    "truth": pl.Boolean,
    "day": pl.Date,
    "list": pl.List(pl.Float64),
    "label": pl.String,
}


@settings(max_examples=15)
@given(st.lists(cells, min_size=1, max_size=12))
def test_data_meets_the_contract_drafted_from_it(rows: list[dict]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA)

    contract = draft_contract(
        frame.lazy(), name="c", required_columns=tuple(SCHEMA), target="label"
    )

    assert all(finding.passed for finding in check_columns(frame.schema, contract))
    assert all(finding.passed for finding in findings(frame, contract).values())


FRAME = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0] * 25, "label": ["a", "b"] * 50})


@pytest.mark.parametrize(
    ("change", "broken", "severity"),
    [
        (pl.lit(None).alias("label"), (NOT_NULL, "label"), "critical"),
        (pl.lit(float("nan")).alias("x"), (NOT_NULL, "x"), "critical"),
        (pl.lit(1e6).alias("x"), (BETWEEN, "x"), "warning"),
        (pl.lit("new").alias("label"), (IN_SET, "label"), "warning"),
    ],
)
def test_breaking_an_expectation_names_it(
    change: pl.Expr, broken: tuple[str, str], severity: str
) -> None:
    contract = draft_contract(
        FRAME.lazy(), name="c", required_columns=("x", "label"), target="label"
    )
    name = change.meta.output_name()
    seventh = pl.int_range(pl.len()) == 7
    damaged = FRAME.with_columns(pl.when(seventh).then(change).otherwise(pl.col(name)).alias(name))

    result = findings(damaged, contract)

    assert [key for key, finding in result.items() if not finding.passed] == [broken]
    assert result[broken].severity == severity
    assert result[broken].observed.startswith("1 of ")


@pytest.mark.parametrize(("mostly", "passes"), [(0.74, True), (0.76, False)])
def test_mostly_is_a_share_of_all_rows(mostly: float, passes: bool) -> None:
    frame = FRAME.sort("x").with_columns(
        x=pl.when(pl.col("x") == 2.0).then(None).otherwise(pl.col("x"))
    )

    result = findings(frame, make_contract(NOT_NULL, column="x", mostly=mostly))

    assert result[NOT_NULL, "x"].passed is passes


@pytest.mark.parametrize(
    ("kind", "kwargs", "passes"),
    [
        ("expect_table_row_count_to_be_between", {"min_value": 100, "max_value": 100}, True),
        ("expect_table_row_count_to_be_between", {"min_value": 101}, False),
        ("expect_table_columns_to_match_set", {"column_set": ["label", "x"]}, True),
        ("expect_table_columns_to_match_set", {"column_set": ["label"]}, False),
        ("expect_column_values_to_be_unique", {"column": "x"}, False),
        ("expect_column_mean_to_be_between", {"column": "x", "min_value": 2.4}, True),
    ],
)
def test_expectations_about_whole_columns_read_all_rows(
    kind: str, kwargs: dict, passes: bool
) -> None:
    [result] = findings(FRAME, make_contract(kind, **kwargs)).values()

    assert result.passed is passes


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (make_contract("expect_nothing_at_all"), "'expect_nothing_at_all' is not an expectation"),
        (make_contract(NOT_NULL, column="x", colour="red"), "extra fields not permitted"),
        (make_contract(NOT_NULL, column="y"), "about column 'y', which the data does not have"),
    ],
)
def test_an_expectation_that_cannot_be_checked_is_an_error_of_the_contract(
    contract: Contract, message: str
) -> None:
    with pytest.raises(ContractFileError, match=message):
        findings(FRAME, contract)


def test_a_check_that_raises_does_not_look_like_bad_data() -> None:
    with pytest.raises(ValidatorBrokenError, match="could not be computed"):
        findings(FRAME, make_contract(BETWEEN, column="label", min_value=1, max_value=2))


def test_a_missing_column_and_a_wrong_type_are_found() -> None:
    contract = Contract(name="c", columns={"x": "Int64", "y": "String", "label": "String"})

    result = {finding.column: finding for finding in check_columns(FRAME.schema, contract)}

    assert (result["x"].passed, result["x"].observed) == (False, "Float64")
    assert (result["y"].passed, result["y"].observed) == (False, "missing")
    assert result["label"].passed


def test_a_range_far_from_zero_contains_its_data() -> None:
    frame = pl.DataFrame({"pressure": [101325.1, 101325.2, 101325.4], "label": ["a", "b", "a"]})
    contract = draft_contract(
        frame.lazy(), name="c", required_columns=("pressure", "label"), target="label"
    )

    assert all(finding.passed for finding in findings(frame, contract).values())


def test_a_repeated_expectation_has_two_findings() -> None:
    rule = Expectation(type=NOT_NULL, kwargs={"column": "x"})
    contract = Contract(name="c", columns={}, expectations=(rule, rule))

    assert findings(FRAME, contract)[NOT_NULL, "x"].passed
