"""Great Expectations' row-level metrics as Polars expressions: which rows break a rule.

A missing value (null, or NaN as pandas has it) is no value, and a comparison with it does not hold.
"""

from dataclasses import dataclass

import polars as pl

from data_contracts.engine.predicates import CHECKS, Kwargs, UnsupportedError, refuse_nested

PRESENCE = ("column_values.nonnull", "column_values.null")

UNIQUE = "column_values.unique"

PAIRS = ("column_pair_values.equal", "column_pair_values.a_greater_than_b")

COMPOUND = "compound_columns.unique"

RECORDS = (COMPOUND, "multicolumn_sum.equal")


@dataclass(frozen=True, slots=True)
class Rule:
    """A row-level metric."""

    judged: pl.Expr
    """True for the rows that the rule is about; never null."""
    broken: pl.Expr
    """True for the judged rows that break it; never null."""
    columns: tuple[str, ...]
    """The columns that it reads."""
    unique: bool = False
    """Whether a row is broken by other rows that hold the same: `broken` is then unused."""
    pair: bool = False
    """Whether it compares two columns; GX then lists broken values as pairs."""


def missing(column: str, dtype: pl.DataType) -> pl.Expr:
    """Tell the rows without a value."""
    values = pl.col(column)
    return values.is_null() | values.is_nan() if dtype.is_float() else values.is_null()


def everywhere(column: str) -> pl.Expr:
    """Tell every row; a literal would be one value, not one a row."""
    return pl.col(column).is_null().is_not_null()


def present(column: str, dtype: pl.DataType) -> pl.Expr:
    """Give the values, with null for what pandas takes for missing."""
    values = pl.col(column)
    # Short floats are compared as long ones, as in pandas.
    return values.cast(pl.Float64).fill_nan(None) if dtype.is_float() else values


def rule_of(metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema) -> Rule:
    """Compile a row-level metric of GX's, such as `column_values.between`.

    Args:
        metric: its name without the ending (`.unexpected_count` and the like).
        domain: the columns that it is about, and which rows are left out.
        kwargs: its arguments.
        schema: of the data.

    Raises:
        UnsupportedError: it has no equal in Polars.
    """
    if domain.get("row_condition") is not None:
        raise UnsupportedError("a row_condition")
    if metric in CHECKS or metric in PRESENCE or metric == UNIQUE:
        return column_rule(metric, str(domain["column"]), kwargs, schema)
    if metric in PAIRS:
        return pair_rule(metric, domain, kwargs, schema)
    if metric in RECORDS:
        return record_rule(metric, domain, kwargs, schema)
    raise UnsupportedError(f"the metric {metric}")


def column_rule(metric: str, column: str, kwargs: Kwargs, schema: pl.Schema) -> Rule:
    """Compile a rule about the values of one column."""
    dtype = schema[column]
    gone = missing(column, dtype)
    if metric == "column_values.nonnull":
        return Rule(everywhere(column), gone, (column,))
    if metric == "column_values.null":
        return Rule(everywhere(column), ~gone, (column,))
    if metric == UNIQUE:
        refuse_nested(dtype, "uniqueness")
        return Rule(~gone, pl.lit(value=False), (column,), unique=True)
    compared = pl.Float64() if dtype.is_float() else dtype
    kept = CHECKS[metric](present(column, dtype), compared, kwargs)
    return Rule(~gone, ~gone & ~kept.fill_null(value=False), (column,))


def pair_rule(metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema) -> Rule:
    """Compile a rule about two values of each row.

    Raises:
        UnsupportedError: the two are of types that do not compare here.
    """
    columns = (str(domain["column_A"]), str(domain["column_B"]))
    one, two = (schema[column] for column in columns)
    numbers = all(dtype.is_integer() or dtype.is_float() for dtype in (one, two))
    if not numbers and not (one == two and (one == pl.String or one.is_temporal())):
        raise UnsupportedError(f"a comparison of {one} with {two}")
    if pl.UInt64 in {one, two} and one != two:
        raise UnsupportedError(f"a comparison of {one} with {two}")
    judged = judged_rows(columns, schema, str(domain.get("ignore_row_if") or "neither"))
    a, b = (present(column, schema[column]) for column in columns)
    if metric == "column_pair_values.equal":
        kept = a == b
    else:
        kept = a >= b if kwargs.get("or_equal") else a > b
    return Rule(judged, judged & ~kept.fill_null(value=False), columns, pair=True)


def record_rule(metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema) -> Rule:
    """Compile a rule about several values of each row."""
    columns = tuple(str(column) for column in domain["column_list"])
    judged = judged_rows(columns, schema, str(domain.get("ignore_row_if") or "never"))
    if metric == COMPOUND:
        for column in columns:
            refuse_nested(schema[column], "uniqueness")
        return Rule(judged, pl.lit(value=False), columns, unique=True)
    if not all(schema[column].is_integer() for column in columns):
        raise UnsupportedError("a sum of anything but whole numbers")
    total = pl.lit(0, dtype=pl.Int128)
    for column in columns:
        total += pl.col(column).cast(pl.Int128)
    kept = total == pl.lit(kwargs["sum_total"])
    return Rule(judged, judged & ~kept.fill_null(value=False), columns)


def judged_rows(columns: tuple[str, ...], schema: pl.Schema, ignored: str) -> pl.Expr:
    """Tell the rows that are not left out for what they lack.

    Raises:
        UnsupportedError: that is no way to leave rows out.
    """
    gone = [missing(column, schema[column]) for column in columns]
    if ignored in {"both_values_are_missing", "all_values_are_missing"}:
        return ~pl.all_horizontal(gone)
    if ignored in {"either_value_is_missing", "any_value_is_missing"}:
        return ~pl.any_horizontal(gone)
    if ignored in {"neither", "never"}:
        return everywhere(columns[0])
    raise UnsupportedError(f"ignore_row_if: {ignored}")
