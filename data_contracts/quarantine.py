"""The rows that break a contract: which they are, and for what reasons."""

from collections.abc import Sequence

import polars as pl

from data_contracts.engine.gx import GxExpectation
from data_contracts.engine.row_metrics import keys_of
from data_contracts.engine.row_rules import Rule, rule_of
from data_contracts.engine.uniqueness import ROW, duplicated_rows, first_duplicated
from data_contracts.suite import Broken

REASONS = "reasons"

REASON_LENGTH = 120
"""Characters of a promise's arguments that a reason shows."""


def rule_behind(built: GxExpectation, schema: pl.Schema) -> Rule:
    """Compile the rule of a row-level expectation."""
    kwargs = dict(built.configuration.kwargs)
    domain = kwargs | {"ignore_row_if": getattr(built, "ignore_row_if", None)}
    return rule_of(built.map_metric, domain, kwargs, schema)


def reason_of(broken: Broken) -> str:
    """Name the promise that a row breaks."""
    kwargs = broken.built.configuration.kwargs
    about = [f"{k}={v!r}" for k, v in kwargs.items() if "column" not in k and v is not None]
    shown = f"({', '.join(about)[:REASON_LENGTH]})" if about else ""
    return f"{broken.finding.column}: {broken.finding.rule}{shown}"


def bad_rows(
    scan: pl.LazyFrame, broken: Sequence[Broken], *, limit: int | None = None
) -> pl.DataFrame:
    """Find the rows that break these promises, in one streaming pass more.

    Args:
        scan: all rows.
        broken: the promises.
        limit: rows of each promise at most, the first ones; None for all.

    Returns:
        A row for each of them: its number (`__row__`) and its `reasons`, sorted by number.
    """
    schema = scan.collect_schema()
    by_rule = [
        (reason_of(each), rule_behind(each.built, schema))
        for each in broken
        if each.finding.engine == "polars"
    ]
    found = [alone(scan, [pair for pair in by_rule if not pair[1].unique], limit)]
    for reason, rule in by_rule:
        if rule.unique:
            keys = keys_of(rule, schema)
            numbers = (
                duplicated_rows(scan, keys, rule.judged)
                if limit is None
                else [first_duplicated(scan, keys, rule.judged, limit=limit)]
            )
            found += [listed(rows, reason) for rows in numbers]
    for each in broken:
        found += [listed(pl.Series(each.rows[:limit], dtype=pl.UInt32), reason_of(each))]
    rows = pl.concat([frame.cast({ROW: pl.UInt32}) for frame in found])
    return rows.group_by(ROW).agg(pl.col(REASONS).explode().unique().sort()).sort(ROW)


def listed(rows: pl.Series, reason: str) -> pl.DataFrame:
    """Give each of the rows one reason."""
    return pl.DataFrame({ROW: rows.cast(pl.UInt32)}).with_columns(
        pl.concat_list(pl.lit(reason)).alias(REASONS)
    )


def alone(scan: pl.LazyFrame, rules: Sequence[tuple[str, Rule]], limit: int | None) -> pl.DataFrame:
    """Find the rows that break a rule by themselves."""
    if not rules:
        return pl.DataFrame(schema={ROW: pl.UInt32, REASONS: pl.List(pl.String)})
    flags = [rule.broken.alias(f"__rule_{place}__") for place, (_, rule) in enumerate(rules)]
    names = [f"__rule_{place}__" for place in range(len(flags))]
    told = [
        pl.when(pl.col(name)).then(pl.lit(reason))
        for name, (reason, _) in zip(names, rules, strict=True)
    ]
    flagged = scan.with_row_index(ROW).with_columns(flags).filter(pl.any_horizontal(names))
    chosen = flagged if limit is None else flagged.head(limit)
    return chosen.select(
        pl.col(ROW).cast(pl.UInt32), pl.concat_list(told).list.drop_nulls().alias(REASONS)
    ).collect(engine="streaming")
