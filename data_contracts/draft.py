"""Draft a contract from data: what held for every row becomes a promise, its owner edits it."""

from typing import Any

import polars as pl

from data_contracts.contract import Contract, Expectation

MAX_VALUES = 50
"""Texts and whole numbers with no more distinct values than this are drafted as a set."""


def draft_contract(
    frame: pl.LazyFrame, *, name: str, needed: tuple[str, ...], target: str | None
) -> Contract:
    """Draft a contract over the columns that a job reads.

    Types and missing values are critical where today's data keeps them; a target is never allowed
    to be missing, and its classes are a warning, for a new class is news rather than an error.

    Args:
        frame: the data, read in one streaming pass.
        name: of the contract.
        needed: the columns that the job reads.
        target: the column that is predicted, if it must not have gaps.
    """
    schema = frame.collect_schema()
    columns = {column: schema[column] for column in needed if column in schema}
    facts = collect_facts(frame, columns)
    expectations = [
        Expectation(type="expect_table_row_count_to_be_between", kwargs={"min_value": 1})
    ]
    for column in columns:
        if column == target or not facts[column, "missing"]:
            kwargs = {"column": column}
            expectations.append(
                Expectation(type="expect_column_values_to_not_be_null", kwargs=kwargs)
            )
        expectations += draft_range(column, facts)
    if target in columns and facts.get((target, "distinct"), MAX_VALUES + 1) <= MAX_VALUES:
        expectations.append(draft_classes(frame, target))
    return Contract(
        name=name,
        columns={column: str(dtype) for column, dtype in columns.items()},
        expectations=tuple(expectations),
    )


def collect_facts(
    frame: pl.LazyFrame, columns: dict[str, pl.DataType]
) -> dict[tuple[str, str], Any]:
    """Count what is missing and distinct in every column, in one streaming pass."""
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


def draft_range(column: str, facts: dict[tuple[str, str], Any]) -> list[Expectation]:
    """Warn when a number leaves the range seen so far by more than the range's own width."""
    low, high = facts.get((column, "low")), facts.get((column, "high"))
    if low is None or high is None or facts[column, "infinite"]:
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


def draft_classes(frame: pl.LazyFrame, target: str) -> Expectation:
    """Warn of a class that nobody has seen: it is news rather than an error."""
    classes = frame.select(pl.col(target).drop_nulls().unique()).collect(engine="streaming")
    return Expectation(
        type="expect_column_values_to_be_in_set",
        kwargs={"column": target, "value_set": classes.to_series().sort().to_list()},
        severity="warning",
    )
