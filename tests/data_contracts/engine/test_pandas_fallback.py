"""Results of pandas batch by batch equal those of the whole table, broken rows included."""

import json
import re
from collections import Counter

import polars as pl
import pytest
from great_expectations.core.batch import Batch
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.validator.validator import Validator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.contract import Expectation
from data_contracts.engine import pandas_fallback
from data_contracts.engine.gx import build_expectation, open_context, run_validation
from data_contracts.engine.pandas_fallback import check_with_pandas
from data_contracts.engine.uniqueness import ROW_NUMBER
from data_contracts.quarantine import REASONS_COLUMN, find_broken_rows
from data_contracts.suite import check_expectations

FRAME = pl.DataFrame(
    {
        "s": ["a1", "b", None, '{"k": 1}', "1", "a2", "", "a\n", "b1", "a"] * 3,
        "x": [1, 2, None, 4, 5, None, 7, 800, 9, 10] * 3,
        "y": [1, None, 3, 4, 50, 6, 7, 8, 9, 10] * 3,
        "kind": ["on", "off", "on", None, "on", "off", "on", "on", "off", "off"] * 3,
    }
)

PAIRS = [[1, 1], [4, 4], [None, 3], [7, 7]]

PAIR = {"column_A": "x", "column_B": "y", "value_pairs_set": PAIRS}

# As GX writes Column("kind") == "on" to a file.
ON = {"type": "comparison", "column": {"name": "kind"}, "operator": "==", "parameter": "on"}

BY_ROWS = [
    ("expect_column_values_to_match_regex", {"column": "s", "regex": "a(?=[0-9])"}),
    ("expect_column_values_to_not_match_regex", {"column": "s", "regex": r"(?i)A\b"}),
    ("expect_column_values_to_match_regex_list", {"column": "s", "regex_list": ["^a", "1$"]}),
    ("expect_column_values_to_be_json_parseable", {"column": "s"}),
    ("expect_column_values_to_be_json_parseable", {"column": "s", "mostly": 0.25}),
    ("expect_column_values_to_be_between", {"column": "x", "max_value": 5, "row_condition": ON}),
    ("expect_column_pair_values_to_be_in_set", PAIR),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["x", "y"]}),
]

WHOLE_COLUMN = [
    (
        "expect_column_value_z_scores_to_be_less_than",
        {"column": "x", "threshold": 1, "double_sided": True},
    ),
    ("expect_column_values_to_be_unique", {"column": "s", "row_condition": ON}),
]

COUNTS = ("element_count", "missing_count", "unexpected_count")


def validate_whole(frame: pl.DataFrame, kind: str, kwargs: dict) -> object:
    batch = Batch(data=frame.to_pandas(integer_object_nulls=True))
    validator = Validator(PandasExecutionEngine(), batches=[batch], data_context=open_context())
    built = build_expectation(Expectation(type=kind, kwargs=kwargs), index=0)
    return run_validation(validator, [built], detail="COMPLETE")[0]


def validate_in_batches(
    frame: pl.DataFrame, kind: str, kwargs: dict
) -> pandas_fallback.EngineResult:
    expectation = Expectation(type=kind, kwargs=kwargs)
    built = build_expectation(expectation, index=0)
    return check_with_pandas(frame.lazy(), expectation, built, context=open_context())


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize(("kind", "kwargs"), [*BY_ROWS, *WHOLE_COLUMN])
def test_batches_add_up_to_the_whole(kind, kwargs, rows, monkeypatch) -> None:
    monkeypatch.setattr(pandas_fallback, "BATCH_ROWS", rows)

    result = validate_in_batches(FRAME, kind, kwargs)

    expected = validate_whole(FRAME, kind, kwargs)
    for name in COUNTS:
        assert result.result.result.get(name) == expected.result.get(name)
    assert result.result.success == expected.success
    assert result.row_numbers == expected.result["unexpected_index_list"]


@pytest.mark.parametrize(("kind", "kwargs"), [*BY_ROWS, *WHOLE_COLUMN])
def test_an_empty_table_is_handled(kind, kwargs) -> None:
    result = validate_in_batches(FRAME.head(0), kind, kwargs)

    assert result.row_numbers == []
    assert not result.result.result.get("unexpected_count")


def test_integers_with_missing_values_are_exact_in_pandas(monkeypatch) -> None:
    monkeypatch.setattr(pandas_fallback, "BATCH_ROWS", 2)
    large = 2**53 + 1
    frame = pl.DataFrame({"x": [large, None, large, 2**53], "y": [2**53, None, large, None]})

    pairs = {"column_A": "x", "column_B": "y", "value_pairs_set": [[large, large]]}
    result = validate_in_batches(frame, "expect_column_pair_values_to_be_in_set", pairs)

    assert result.row_numbers == [0, 3]
    assert result.result.result["partial_unexpected_list"][0] == (large, 2**53)


texts = st.none() | st.sampled_from(["a1", "b", "", "{}", "1", "[", "A", "a\n", "\u00e9"])
numbers = st.none() | st.integers(-3, 6)
rows = st.lists(st.tuples(texts, numbers, numbers), min_size=1, max_size=12)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


RULES = {
    "s: expect_column_values_to_not_be_null": {"column": "s"},
    "x: expect_column_values_to_be_between": {"column": "x", "min_value": 0, "max_value": 4},
    "s: expect_column_values_to_match_regex": {"column": "s", "regex": "^(?!a)"},
    "s: expect_column_values_to_be_json_parseable": {"column": "s"},
    "x: expect_column_values_to_be_unique": {"column": "x"},
    "x, y: expect_compound_columns_to_be_unique": {"column_list": ["x", "y"]},
    "x, y: expect_column_pair_values_a_to_be_greater_than_b": {
        "column_A": "x",
        "column_B": "y",
        "or_equal": True,
        "ignore_row_if": "either_value_is_missing",
    },
}


def find_reasons(tuples: list[tuple]) -> dict[int, list[str]]:
    """Return the reasons for each broken row, in plain Python."""
    names = list(RULES)
    counts = Counter(x for _, x, _ in tuples)
    # GX ignores rows in which all columns of a compound key are missing.
    evaluated = [(x, y) for _, x, y in tuples if (x, y) != (None, None)]
    pairs = Counter(evaluated)
    reasons = {}
    for index, (s, x, y) in enumerate(tuples):
        broken = [
            s is None,
            x is not None and not 0 <= x <= 4,
            s is not None and re.search("^(?!a)", s) is None,
            s is not None and not is_json(s),
            x is not None and counts[x] > 1,
            (x, y) != (None, None) and pairs[x, y] > 1,
            x is not None and y is not None and x < y,
        ]
        if any(broken):
            reasons[index] = sorted(name for name, bad in zip(names, broken, strict=True) if bad)
    return reasons


@given(tuples=rows)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bad_rows_are_those_that_plain_python_finds(tuples, monkeypatch) -> None:
    monkeypatch.setattr(pandas_fallback, "BATCH_ROWS", 5)
    schema = {"s": pl.String, "x": pl.Int64, "y": pl.Int64}
    scan = pl.DataFrame(tuples, schema=schema, orient="row").lazy()
    expectations = [
        Expectation(type=name.split(": ")[1], kwargs=kwargs) for name, kwargs in RULES.items()
    ]
    built = [build_expectation(each, index=index) for index, each in enumerate(expectations)]

    checked = check_expectations(scan, expectations, built, [])

    engines = [finding.engine for finding in checked.findings]
    assert engines == ["polars", "polars", "pandas", "pandas", "polars", "polars", "polars"]
    expected = find_reasons(tuples)
    assert sum(not finding.passed for finding in checked.findings) == len(
        {reason for reasons in expected.values() for reason in reasons}
    )
    if checked.broken:
        result = find_broken_rows(scan, checked.broken)
        reasons = [
            sorted(r.partition("(")[0] for r in reasons) for reasons in result[REASONS_COLUMN]
        ]
        assert dict(zip(result[ROW_NUMBER], reasons, strict=True)) == expected
    else:
        assert expected == {}
