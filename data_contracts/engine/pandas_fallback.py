"""Check expectations without an equivalent in Polars with Great Expectations' pandas engine.

An expectation about single rows is run batch by batch and its counts are summed, so that memory
stays bounded; one that needs a whole column gets a frame of only the columns that it names.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from great_expectations.core import ExpectationValidationResult
from great_expectations.core.batch import Batch
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.validator.validator import Validator

from data_contracts.contract import Expectation
from data_contracts.engine.gx import (
    GxContext,
    GxExpectation,
    GxResult,
    ValidatorBrokenError,
    find_exception_message,
    list_columns,
    run_validation,
)

BATCH_ROWS = 65_536

_WHOLE_COLUMN_EXPECTATIONS = {
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_decreasing",
    "expect_column_value_z_scores_to_be_less_than",
}
"""Row-level expectations whose result for a row depends on other rows."""


@dataclass(slots=True)
class EngineResult:
    """GX's result of one expectation, and the numbers of the rows that break it."""

    result: GxResult
    row_numbers: list[int] = field(default_factory=list)


def check_with_pandas(
    scan: pl.LazyFrame,
    expectation: Expectation,
    built: GxExpectation,
    *,
    context: GxContext,
) -> EngineResult:
    """Run one expectation with GX's pandas engine.

    Raises:
        ValidatorBrokenError: the expectation could not be computed.
    """
    by_rows = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    schema = scan.collect_schema()
    condition = str(expectation.kwargs.get("row_condition") or "")
    names = {*list_columns(expectation), *(name for name in schema.names() if name in condition)}
    rows = scan.select([name for name in schema.names() if name in names] or pl.all())
    if isinstance(built, by_rows) and expectation.type not in _WHOLE_COLUMN_EXPECTATIONS:
        return _validate_in_batches(rows, expectation, built, context=context)
    return _validate_frame(rows.collect(engine="streaming"), built, context=context)


def _validate_frame(
    frame: pl.DataFrame, built: GxExpectation, *, context: GxContext
) -> EngineResult:
    """Run an expectation on one frame, and again with all row numbers if rows break it.

    Raises:
        ValidatorBrokenError: the expectation could not be computed.
    """
    # Integers with missing values would become floats and lose digits above 2**53.
    batch = Batch(data=frame.to_pandas(integer_object_nulls=True))
    engine = PandasExecutionEngine()
    validator = Validator(execution_engine=engine, batches=[batch], data_context=context)
    [result] = run_validation(validator, [built])
    if why := find_exception_message(result):
        raise ValidatorBrokenError(f"{built.expectation_type} could not be computed: {why}")
    if not result.result.get("unexpected_count"):
        return EngineResult(result)
    [complete] = run_validation(validator, [built], detail="COMPLETE")
    return EngineResult(result, list(complete.result.get("unexpected_index_list") or []))


def _validate_in_batches(
    rows: pl.LazyFrame,
    expectation: Expectation,
    built: GxExpectation,
    *,
    context: GxContext,
) -> EngineResult:
    """Run a row-level expectation batch by batch, and sum its counts."""
    counts = {"element_count": 0, "missing_count": 0, "unexpected_count": 0}
    examples: list[Any] = []
    broken: list[int] = []
    start = 0
    for frame in _read_batches(rows):
        one = _validate_frame(frame, built, context=context)
        for name in counts:
            counts[name] += one.result.result.get(name) or 0
        examples += one.result.result.get("partial_unexpected_list") or []
        broken += [start + int(number) for number in one.row_numbers]
        start += len(frame)
    evaluated = counts["element_count"] - counts["missing_count"]
    expected = (evaluated - counts["unexpected_count"]) / evaluated if evaluated else 1.0
    result = counts | {
        "unexpected_percent": 100 * (1 - expected),
        "partial_unexpected_list": examples[:20],
    }
    gx_result = ExpectationValidationResult(
        success=expected >= float(expectation.kwargs.get("mostly", 1.0)),
        expectation_config=built.configuration,
        result=result,
        exception_info={"raised_exception": False},
    )
    return EngineResult(gx_result, broken)


def _read_batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Read the rows in order, in frames that fit in memory; without rows, one empty frame."""
    empty = True
    for frame in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        empty = False
        yield frame
    if empty:
        yield rows.head(0).collect()
