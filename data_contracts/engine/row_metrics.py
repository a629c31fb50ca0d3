"""Great Expectations' metrics of a row-level rule: the number of broken rows, and examples."""

from typing import Any

import polars as pl

from data_contracts.engine.aggregates import Aggregation, Query
from data_contracts.engine.predicates import Kwargs, UnsupportedError
from data_contracts.engine.row_rules import RowRule, compile_rule, read_values
from data_contracts.engine.uniqueness import ROW_NUMBER, count_duplicates, find_first_duplicates

_DEFAULT_EXAMPLES = 20


def compile_row_metric(
    metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema
) -> Aggregation | Query:
    """Compile a metric such as `column_values.between.unexpected_count`.

    Raises:
        UnsupportedError: the metric has no equivalent in Polars.
    """
    if metric == "column_values.value_length.map":
        return _compile_nothing()
    root, _, ending = metric.rpartition(".")
    rule = compile_rule(root, domain, kwargs, schema)
    match ending:
        case "condition" | "unexpected_index_query":
            return _compile_nothing()
        case "unexpected_count":
            return _compile_broken_count(root, rule, domain, kwargs, schema=schema)
        case "filtered_row_count":
            return _compile_row_count(
                f"evaluated:{root}:{_format_arguments(domain)}", rule.evaluated
            )
        case "unexpected_values" | "unexpected_index_list":
            limit = (kwargs.get("result_format") or {}).get("partial_unexpected_count")
            limit = _DEFAULT_EXAMPLES if limit is None else int(limit)
            by_number = ending == "unexpected_index_list"
            count = _compile_broken_count(root, rule, domain, kwargs, schema=schema)
            return Query(lambda scan: _find_examples(scan, rule, schema, limit)[by_number], count)
    raise UnsupportedError(f"the metric {metric}")


def build_keys(rule: RowRule, schema: pl.Schema) -> dict[str, pl.Expr]:
    """Build the expressions that have to be unique together, by name."""
    return {f"key{index}": read_values(c, schema[c]) for index, c in enumerate(rule.columns)}


def _compile_nothing() -> Aggregation:
    """Compile a metric that only GX's own engines need, as an intermediate step; it is None."""
    return Aggregation({}, lambda _facts: None)


def _compile_broken_count(
    root: str, rule: RowRule, domain: Kwargs, kwargs: Kwargs, *, schema: pl.Schema
) -> Aggregation | Query:
    """Compile the number of rows that break a rule."""
    if rule.unique:
        keys = build_keys(rule, schema)
        return Query(
            lambda scan: count_duplicates(scan, keys, rule.evaluated),
            key=f"duplicated:{root}:{_format_arguments(domain)}",
        )
    return _compile_row_count(
        f"broken:{root}:{_format_arguments(domain)}:{_format_arguments(kwargs)}", rule.broken
    )


def _compile_row_count(name: str, rows: pl.Expr) -> Aggregation:
    """Compile the number of rows for which an expression is true."""
    return Aggregation({name: rows.sum()}, lambda facts: int(facts[name]))


def _format_arguments(kwargs: Kwargs) -> str:
    """Format arguments independently of their order, without the format of the result."""
    return repr(sorted((key, kwargs[key]) for key in kwargs if key != "result_format"))


def _select_broken_rows(scan: pl.LazyFrame, rule: RowRule) -> pl.LazyFrame:
    """Select the rows that break a rule, with their numbers."""
    numbered = scan.with_row_index(ROW_NUMBER).with_columns(rule.broken.alias("__broken__"))
    return numbered.filter("__broken__").drop("__broken__")


def _find_examples(
    scan: pl.LazyFrame, rule: RowRule, schema: pl.Schema, limit: int
) -> tuple[list[Any], list[int]]:
    """Find the first broken rows: their values as GX lists them, and their numbers."""
    if rule.unique:
        rows = find_first_duplicates(scan, build_keys(rule, schema), rule.evaluated, limit=limit)
        chosen = scan.with_row_index(ROW_NUMBER).filter(pl.col(ROW_NUMBER).is_in(rows.implode()))
    else:
        chosen = _select_broken_rows(scan, rule).head(limit)
    # A pair may be a column and itself.
    names = list(dict.fromkeys(rule.columns))
    frame = chosen.select(ROW_NUMBER, *names).collect(engine="streaming").sort(ROW_NUMBER)
    numbers = frame[ROW_NUMBER].to_list()
    if rule.pair:
        return list(zip(*(frame[name] for name in rule.columns), strict=True)), numbers
    if len(rule.columns) == 1:
        return frame[names[0]].to_list(), numbers
    return frame.select(names).rows(named=True), numbers
