"""Great Expectations' metrics about a row-level rule: how many rows break it, and examples."""

from typing import Any

import polars as pl

from data_contracts.engine.aggregates import Plan, Query
from data_contracts.engine.predicates import Kwargs, UnsupportedError
from data_contracts.engine.row_rules import Rule, present, rule_of
from data_contracts.engine.uniqueness import ROW, count_duplicated, first_duplicated

DEFAULT_EXAMPLES = 20


def row_metric_of(metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema) -> Plan | Query:
    """Compile a metric such as `column_values.between.unexpected_count`.

    Raises:
        UnsupportedError: it has no equal in Polars.
    """
    if metric == "column_values.value_length.map":
        return nothing()
    root, _, ending = metric.rpartition(".")
    rule = rule_of(root, domain, kwargs, schema)
    match ending:
        case "condition" | "unexpected_index_query":
            return nothing()
        case "unexpected_count":
            return count_broken(root, rule, domain, kwargs, schema=schema)
        case "filtered_row_count":
            return counted(f"judged:{root}:{told(domain)}", rule.judged)
        case "unexpected_values" | "unexpected_index_list":
            limit = (kwargs.get("result_format") or {}).get("partial_unexpected_count")
            limit = DEFAULT_EXAMPLES if limit is None else int(limit)
            by_number = ending == "unexpected_index_list"
            count = count_broken(root, rule, domain, kwargs, schema=schema)
            return Query(lambda scan: examples(scan, rule, schema, limit)[by_number], count)
    raise UnsupportedError(f"the metric {metric}")


def nothing() -> Plan:
    """Answer a metric that only GX's own engines need, as a step to others."""
    return Plan({}, lambda _facts: None)


def count_broken(
    root: str, rule: Rule, domain: Kwargs, kwargs: Kwargs, *, schema: pl.Schema
) -> Plan | Query:
    """Count the rows that break a rule."""
    if rule.unique:
        keys = keys_of(rule, schema)
        return Query(
            lambda scan: count_duplicated(scan, keys, rule.judged),
            name=f"duplicated:{root}:{told(domain)}",
        )
    return counted(f"broken:{root}:{told(domain)}:{told(kwargs)}", rule.broken)


def counted(name: str, rows: pl.Expr) -> Plan:
    """Count the rows that an expression tells."""
    return Plan({name: rows.sum()}, lambda facts: int(facts[name]))


def told(kwargs: Kwargs) -> str:
    """Write arguments so that equal ones are written equally; how results look is no part."""
    return repr(sorted((key, kwargs[key]) for key in kwargs if key != "result_format"))


def keys_of(rule: Rule, schema: pl.Schema) -> dict[str, pl.Expr]:
    """Name what has to be unique."""
    return {f"key{place}": present(c, schema[c]) for place, c in enumerate(rule.columns)}


def broken_rows(scan: pl.LazyFrame, rule: Rule) -> pl.LazyFrame:
    """Keep the rows that break a rule by themselves, with their number."""
    numbered = scan.with_row_index(ROW).with_columns(rule.broken.alias("__broken__"))
    return numbered.filter("__broken__").drop("__broken__")


def examples(
    scan: pl.LazyFrame, rule: Rule, schema: pl.Schema, limit: int
) -> tuple[list[Any], list[int]]:
    """Give the first broken rows: their values as GX lists them, and their numbers."""
    if rule.unique:
        rows = first_duplicated(scan, keys_of(rule, schema), rule.judged, limit=limit)
        chosen = scan.with_row_index(ROW).filter(pl.col(ROW).is_in(rows.implode()))
    else:
        chosen = broken_rows(scan, rule).head(limit)
    # A pair may be a column and itself.
    names = list(dict.fromkeys(rule.columns))
    frame = chosen.select(ROW, *names).collect(engine="streaming").sort(ROW)
    numbers = frame[ROW].to_list()
    if rule.pair:
        return list(zip(*(frame[name] for name in rule.columns), strict=True)), numbers
    if len(rule.columns) == 1:
        return frame[names[0]].to_list(), numbers
    return frame.select(names).rows(named=True), numbers
