"""Great Expectations' row-level metrics as Polars expressions: which rows break a rule.

Null and, as in pandas, NaN are missing values. Comparisons with a missing value are false.
"""

from dataclasses import dataclass

import polars as pl

from data_contracts.engine.predicates import PREDICATES, Kwargs, UnsupportedError, check_not_nested

_PRESENCE = ("column_values.nonnull", "column_values.null")

_UNIQUE = "column_values.unique"

_COLUMN_PAIRS = ("column_pair_values.equal", "column_pair_values.a_greater_than_b")

_COMPOUND_UNIQUE = "compound_columns.unique"

_MULTICOLUMN = (_COMPOUND_UNIQUE, "multicolumn_sum.equal")


@dataclass(frozen=True, slots=True)
class RowRule:
    """A row-level metric as expressions over the rows."""

    evaluated: pl.Expr
    """True for the rows to which the rule applies; never null."""
    broken: pl.Expr
    """True for the evaluated rows that break it; never null."""
    columns: tuple[str, ...]
    """The columns that it reads."""
    unique: bool = False
    """Whether a row breaks it by an equal key in another row; `broken` is then unused."""
    pair: bool = False
    """Whether it compares two columns; GX then lists unexpected values as pairs."""


def read_values(column: str, dtype: pl.DataType) -> pl.Expr:
    """Read a column with null for all missing values.

    Float32 is compared as Float64, as in pandas.
    """
    values = pl.col(column)
    return values.cast(pl.Float64).fill_nan(None) if dtype.is_float() else values


def compile_rule(metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema) -> RowRule:
    """Compile a row-level metric of GX's, such as `column_values.between`.

    Args:
        metric: its name without the ending (`.unexpected_count` and the like).
        domain: its columns, and which rows are ignored.
        kwargs: its arguments.
        schema: the data's.

    Raises:
        UnsupportedError: the metric has no equivalent in Polars.
    """
    if domain.get("row_condition") is not None:
        raise UnsupportedError("a row_condition")
    if metric in PREDICATES or metric in _PRESENCE or metric == _UNIQUE:
        return _compile_column_rule(metric, str(domain["column"]), kwargs, schema)
    if metric in _COLUMN_PAIRS:
        return _compile_pair_rule(metric, domain, kwargs, schema)
    if metric in _MULTICOLUMN:
        return _compile_multicolumn_rule(metric, domain, kwargs, schema)
    raise UnsupportedError(f"the metric {metric}")


def _is_missing(column: str, dtype: pl.DataType) -> pl.Expr:
    """Select the rows whose value is missing."""
    values = pl.col(column)
    return values.is_null() | values.is_nan() if dtype.is_float() else values.is_null()


def _every_row(column: str) -> pl.Expr:
    """Select every row; a literal would be a single value, not one for each row."""
    return pl.col(column).is_null().is_not_null()


def _compile_column_rule(metric: str, column: str, kwargs: Kwargs, schema: pl.Schema) -> RowRule:
    """Compile a rule about the values of one column."""
    dtype = schema[column]
    missing = _is_missing(column, dtype)
    if metric == "column_values.nonnull":
        return RowRule(_every_row(column), missing, (column,))
    if metric == "column_values.null":
        return RowRule(_every_row(column), ~missing, (column,))
    if metric == _UNIQUE:
        check_not_nested(dtype, "uniqueness")
        return RowRule(~missing, pl.lit(value=False), (column,), unique=True)
    compared = pl.Float64() if dtype.is_float() else dtype
    satisfied = PREDICATES[metric](read_values(column, dtype), compared, kwargs)
    return RowRule(~missing, ~missing & ~satisfied.fill_null(value=False), (column,))


def _compile_pair_rule(metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema) -> RowRule:
    """Compile a rule about two values of each row.

    Raises:
        UnsupportedError: the types of the two columns cannot be compared in Polars.
    """
    columns = (str(domain["column_A"]), str(domain["column_B"]))
    one, two = (schema[column] for column in columns)
    numbers = all(dtype.is_integer() or dtype.is_float() for dtype in (one, two))
    if not numbers and not (one == two and (one == pl.String or one.is_temporal())):
        raise UnsupportedError(f"a comparison of {one} with {two}")
    if pl.UInt64 in {one, two} and one != two:
        raise UnsupportedError(f"a comparison of {one} with {two}")
    evaluated = _select_evaluated_rows(
        columns, schema, str(domain.get("ignore_row_if") or "neither")
    )
    a, b = (read_values(column, schema[column]) for column in columns)
    if metric == "column_pair_values.equal":
        satisfied = a == b
    else:
        satisfied = a >= b if kwargs.get("or_equal") else a > b
    return RowRule(evaluated, evaluated & ~satisfied.fill_null(value=False), columns, pair=True)


def _compile_multicolumn_rule(
    metric: str, domain: Kwargs, kwargs: Kwargs, schema: pl.Schema
) -> RowRule:
    """Compile a rule about several values of each row."""
    columns = tuple(str(column) for column in domain["column_list"])
    evaluated = _select_evaluated_rows(columns, schema, str(domain.get("ignore_row_if") or "never"))
    if metric == _COMPOUND_UNIQUE:
        for column in columns:
            check_not_nested(schema[column], "uniqueness")
        return RowRule(evaluated, pl.lit(value=False), columns, unique=True)
    if not all(schema[column].is_integer() for column in columns):
        raise UnsupportedError("a sum of anything but whole numbers")
    total = pl.lit(0, dtype=pl.Int128)
    for column in columns:
        total += pl.col(column).cast(pl.Int128)
    satisfied = total == pl.lit(kwargs["sum_total"])
    return RowRule(evaluated, evaluated & ~satisfied.fill_null(value=False), columns)


def _select_evaluated_rows(columns: tuple[str, ...], schema: pl.Schema, ignored: str) -> pl.Expr:
    """Select the rows that are not ignored for missing values, by GX's `ignore_row_if`.

    Raises:
        UnsupportedError: its value is unknown.
    """
    missing = [_is_missing(column, schema[column]) for column in columns]
    if ignored in {"both_values_are_missing", "all_values_are_missing"}:
        return ~pl.all_horizontal(missing)
    if ignored in {"either_value_is_missing", "any_value_is_missing"}:
        return ~pl.any_horizontal(missing)
    if ignored in {"neither", "never"}:
        return _every_row(columns[0])
    raise UnsupportedError(f"ignore_row_if: {ignored}")
