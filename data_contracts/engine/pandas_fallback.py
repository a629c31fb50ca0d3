"""The expectations that Polars has no equal for: Great Expectations' own engine, on pandas.

An expectation about single rows is asked batch by batch and its counts are added up, so that
memory stays bounded; one that needs a whole column gets a frame of just the columns it names.
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
    ask,
    columns_of,
    failure_of,
)

BATCH_ROWS = 65_536

OF_WHOLE_COLUMNS = {
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_decreasing",
    "expect_column_value_z_scores_to_be_less_than",
}
"""Expectations about rows whose answer for a row depends on other rows."""


@dataclass(slots=True)
class Fallback:
    """One expectation's answer, and the numbers of the rows that break it."""

    result: GxResult
    rows: list[int] = field(default_factory=list)


def check_by_pandas(
    scan: pl.LazyFrame,
    expectation: Expectation,
    built: GxExpectation,
    *,
    context: GxContext,
) -> Fallback:
    """Ask GX's pandas engine about one expectation.

    Raises:
        ValidatorBrokenError: it could not be computed.
    """
    by_rows = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    schema = scan.collect_schema()
    condition = str(expectation.kwargs.get("row_condition") or "")
    names = {*columns_of(expectation), *(name for name in schema.names() if name in condition)}
    rows = scan.select([name for name in schema.names() if name in names] or pl.all())
    if isinstance(built, by_rows) and expectation.type not in OF_WHOLE_COLUMNS:
        return tally(rows, expectation, built, context=context)
    return ask_frame(rows.collect(engine="streaming"), built, context=context)


def ask_frame(frame: pl.DataFrame, built: GxExpectation, *, context: GxContext) -> Fallback:
    """Ask about one frame, and once more for the rows when some break it.

    Raises:
        ValidatorBrokenError: it could not be computed.
    """
    # Whole numbers with gaps would become floats and lose digits above 2**53.
    batch = Batch(data=frame.to_pandas(integer_object_nulls=True))
    engine = PandasExecutionEngine()
    validator = Validator(execution_engine=engine, batches=[batch], data_context=context)
    [result] = ask(validator, [built])
    if why := failure_of(result):
        raise ValidatorBrokenError(f"{built.expectation_type} could not be computed: {why}")
    if not result.result.get("unexpected_count"):
        return Fallback(result)
    [complete] = ask(validator, [built], detail="COMPLETE")
    return Fallback(result, list(complete.result.get("unexpected_index_list") or []))


def tally(
    rows: pl.LazyFrame,
    expectation: Expectation,
    built: GxExpectation,
    *,
    context: GxContext,
) -> Fallback:
    """Ask batch by batch, and add up."""
    counts = {"element_count": 0, "missing_count": 0, "unexpected_count": 0}
    examples: list[Any] = []
    broken: list[int] = []
    start = 0
    for frame in batches(rows):
        one = ask_frame(frame, built, context=context)
        for name in counts:
            counts[name] += one.result.result.get(name) or 0
        examples += one.result.result.get("partial_unexpected_list") or []
        broken += [start + int(number) for number in one.rows]
        start += len(frame)
    judged = counts["element_count"] - counts["missing_count"]
    kept = (judged - counts["unexpected_count"]) / judged if judged else 1.0
    result = counts | {
        "unexpected_percent": 100 * (1 - kept),
        "partial_unexpected_list": examples[:20],
    }
    answer = ExpectationValidationResult(
        success=kept >= float(expectation.kwargs.get("mostly", 1.0)),
        expectation_config=built.configuration,
        result=result,
        exception_info={"raised_exception": False},
    )
    return Fallback(answer, broken)


def batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Read the rows in order, in frames that fit in memory; of no rows, one empty frame."""
    empty = True
    for frame in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        empty = False
        yield frame
    if empty:
        yield rows.head(0).collect()
