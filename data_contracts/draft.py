"""Draft a contract from data: what is true of every row becomes an expectation to review."""

import sys
from typing import Any

import polars as pl

from data_contracts.contract import Contract, Expectation

MAX_SET_VALUES = 50
"""A target with at most this many distinct values gets a set of allowed values."""


def draft_contract(
    frame: pl.LazyFrame, *, name: str, required_columns: tuple[str, ...], target: str | None
) -> Contract:
    """Draft a contract over the columns that a job reads.

    Types are critical, and so is "not null" where no value is missing today; a target must never
    be missing. Ranges and the target's classes are warnings: a new class is no error by itself.

    Args:
        frame: the data.
        name: the contract's name.
        required_columns: columns that the job reads.
        target: column that is predicted, if it must not be missing.
    """
    schema = frame.collect_schema()
    columns = {column: schema[column] for column in required_columns if column in schema}
    statistics = _compute_statistics(frame, columns)
    expectations = [
        Expectation(type="expect_table_row_count_to_be_between", kwargs={"min_value": 1})
    ]
    for column, dtype in columns.items():
        if column == target or not statistics[column, "missing"]:
            kwargs = {"column": column}
            expectations.append(
                Expectation(type="expect_column_values_to_not_be_null", kwargs=kwargs)
            )
        if column == target and dtype.is_float():
            expectations.append(_build_finite_expectation(column))
        expectations += _draft_range(column, statistics)
    if (
        target in columns
        and statistics.get((target, "distinct"), MAX_SET_VALUES + 1) <= MAX_SET_VALUES
    ):
        expectations.append(_draft_classes(frame, target))
    return Contract(
        name=name,
        columns={column: str(dtype) for column, dtype in columns.items()},
        expectations=tuple(expectations),
    )


def _compute_statistics(
    frame: pl.LazyFrame, columns: dict[str, pl.DataType]
) -> dict[tuple[str, str], Any]:
    """Compute statistics by column and name (missing, low, ...), in one streaming pass."""
    wanted: dict[tuple[str, str], pl.Expr] = {}
    for column, dtype in columns.items():
        values = pl.col(column)
        null = values.is_null() | values.is_nan() if dtype.is_float() else values.is_null()
        wanted[column, "missing"] = null.sum()
        if dtype.is_float():
            finite = values.filter(values.is_finite())
            wanted[column, "low"], wanted[column, "high"] = finite.min(), finite.max()
            wanted[column, "infinite"] = values.is_infinite().sum()
        if dtype in {pl.String, pl.Boolean} or dtype.is_integer():
            wanted[column, "distinct"] = values.n_unique()
    row = frame.select(
        expression.alias(f"{index}") for index, expression in enumerate(wanted.values())
    ).collect(engine="streaming")
    return dict(zip(wanted, row.row(0), strict=True)) if wanted else {}


def _build_finite_expectation(column: str) -> Expectation:
    """Expect that no number is infinite: a row that is, is quarantined like one without a target.

    GX has no expectation of its own for that; no finite number lies outside of these bounds.
    """
    largest = sys.float_info.max
    bounds = {"min_value": -largest, "max_value": largest}
    return Expectation(
        type="expect_column_values_to_be_between", kwargs={"column": column, **bounds}
    )


def _draft_range(column: str, statistics: dict[tuple[str, str], Any]) -> list[Expectation]:
    """Draft a warning for numbers outside the present range by more than the range's width."""
    low, high = statistics.get((column, "low")), statistics.get((column, "high"))
    if low is None or high is None or statistics[column, "infinite"]:
        return []
    width = (high - low) or abs(high) or 1.0
    bounds = {"min_value": low - width, "max_value": high + width}
    return [
        Expectation(
            type="expect_column_values_to_be_between",
            kwargs={"column": column, **bounds},
            severity="warning",
        )
    ]


def _draft_classes(frame: pl.LazyFrame, target: str) -> Expectation:
    """Draft a warning for classes that are not in the data."""
    classes = frame.select(pl.col(target).drop_nulls().unique()).collect(engine="streaming")
    return Expectation(
        type="expect_column_values_to_be_in_set",
        kwargs={"column": target, "value_set": classes.to_series().sort().to_list()},
        severity="warning",
    )
