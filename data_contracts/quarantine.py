"""Find the rows that break a contract, and their reasons."""

from collections.abc import Sequence

import polars as pl

from data_contracts.engine.gx import GxExpectation
from data_contracts.engine.row_metrics import build_keys
from data_contracts.engine.row_rules import RowRule, compile_rule
from data_contracts.engine.uniqueness import ROW_NUMBER, find_duplicates, find_first_duplicates
from data_contracts.suite import BrokenExpectation

REASONS_COLUMN = "reasons"

_MAX_REASON_LENGTH = 120
"""Characters of an expectation's arguments in a reason."""


def find_broken_rows(
    scan: pl.LazyFrame, broken: Sequence[BrokenExpectation], *, limit: int | None = None
) -> pl.DataFrame:
    """Find the rows that break these expectations, in one further streaming pass.

    Args:
        scan: all rows.
        broken: the expectations.
        limit: largest number of rows per expectation, the first ones; None for all.

    Returns:
        One line a broken row: its number (`__row__`) and its `reasons`, sorted by number.
    """
    schema = scan.collect_schema()
    by_rule = [
        (_format_reason(each), _compile_rule(each.gx_expectation, schema))
        for each in broken
        if each.finding.engine == "polars"
    ]
    found = [_find_by_row_rules(scan, [pair for pair in by_rule if not pair[1].unique], limit)]
    for reason, rule in by_rule:
        if rule.unique:
            keys = build_keys(rule, schema)
            numbers = (
                find_duplicates(scan, keys, rule.evaluated)
                if limit is None
                else [find_first_duplicates(scan, keys, rule.evaluated, limit=limit)]
            )
            found += [_attach_reason(rows, reason) for rows in numbers]
    for each in broken:
        found += [
            _attach_reason(
                pl.Series(each.row_numbers[:limit], dtype=pl.UInt32), _format_reason(each)
            )
        ]
    rows = pl.concat([frame.cast({ROW_NUMBER: pl.UInt32}) for frame in found])
    return (
        rows.group_by(ROW_NUMBER)
        .agg(pl.col(REASONS_COLUMN).explode().unique().sort())
        .sort(ROW_NUMBER)
    )


def _compile_rule(built: GxExpectation, schema: pl.Schema) -> RowRule:
    """Compile the row rule of a row-level expectation."""
    kwargs = dict(built.configuration.kwargs)
    domain = kwargs | {"ignore_row_if": getattr(built, "ignore_row_if", None)}
    return compile_rule(built.map_metric, domain, kwargs, schema)


def _format_reason(broken: BrokenExpectation) -> str:
    """Format the expectation that a row breaks, such as `x: expect_...(min_value=0)`."""
    kwargs = broken.gx_expectation.configuration.kwargs
    about = [f"{k}={v!r}" for k, v in kwargs.items() if "column" not in k and v is not None]
    shown = f"({', '.join(about)[:_MAX_REASON_LENGTH]})" if about else ""
    return f"{broken.finding.column}: {broken.finding.rule}{shown}"


def _attach_reason(rows: pl.Series, reason: str) -> pl.DataFrame:
    """Build a frame of row numbers, all with one reason."""
    return pl.DataFrame({ROW_NUMBER: rows.cast(pl.UInt32)}).with_columns(
        pl.concat_list(pl.lit(reason)).alias(REASONS_COLUMN)
    )


def _find_by_row_rules(
    scan: pl.LazyFrame, rules: Sequence[tuple[str, RowRule]], limit: int | None
) -> pl.DataFrame:
    """Find the rows that break rules about single rows."""
    if not rules:
        return pl.DataFrame(schema={ROW_NUMBER: pl.UInt32, REASONS_COLUMN: pl.List(pl.String)})
    flags = [rule.broken.alias(f"__rule_{index}__") for index, (_, rule) in enumerate(rules)]
    names = [f"__rule_{index}__" for index in range(len(flags))]
    reasons = [
        pl.when(pl.col(name)).then(pl.lit(reason))
        for name, (reason, _) in zip(names, rules, strict=True)
    ]
    flagged = scan.with_row_index(ROW_NUMBER).with_columns(flags).filter(pl.any_horizontal(names))
    chosen = flagged if limit is None else flagged.head(limit)
    return chosen.select(
        pl.col(ROW_NUMBER).cast(pl.UInt32),
        pl.concat_list(reasons).list.drop_nulls().alias(REASONS_COLUMN),
    ).collect(engine="streaming")
