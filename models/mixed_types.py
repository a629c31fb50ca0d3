"""Columns with values of several types: values of a wrong type become null, each with a reason."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.featurizer import check_columns

_UNKNOWN_TYPES = {pl.Null(), pl.Object()}
"""Types that a single value can have and a column cannot be read as."""

TypeCheck = Callable[[pl.DataType], bool]


class CleanColumn(NamedTuple):
    """A column of one type, and why some of its rows are null."""

    column: pl.Series
    reasons: dict[int, str]
    """Why the value is null, by row number."""


def build_type_check(layout: Layout, name: str) -> TypeCheck:
    """Return a function that checks whether this layout can read a column of a type."""
    others = dict.fromkeys(layout.raw_columns, pl.Null())

    def fits(dtype: pl.DataType) -> bool:
        try:
            check_columns(pl.Schema({**others, name: dtype}), layout)
        except UnlearnableError:
            return False
        return True

    return fits


def clean_column(name: str, values: Sequence[Any], fits: TypeCheck) -> CleanColumn:
    """Return a column of one type from values of several types.

    Values whose type fits stay. Where no type fits, or the fitting types have no common type, the
    values of the most frequent type stay.
    """
    types = [_infer_type(value) for value in values]
    frequent = [dtype for dtype, _ in Counter(types).most_common() if dtype not in _UNKNOWN_TYPES]
    fitting = [dtype for dtype in frequent if fits(dtype)]
    for valid in (fitting, fitting[:1] or frequent[:1], []):
        allowed = {pl.Null(), *valid}
        try:
            column = pl.Series(
                name,
                [
                    _to_python(value) if dtype in allowed else None
                    for value, dtype in zip(values, types, strict=True)
                ],
                strict=True,
            )
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            continue
        break
    wrong = [row for row, dtype in enumerate(types) if dtype not in allowed]
    reason = "which is of another type than in training"
    return CleanColumn(
        column,
        {row: f"column '{name}' holds {_shorten_repr(values[row])}, {reason}" for row in wrong},
    )


def _infer_type(value: object) -> pl.DataType:
    """Return the Polars type of one value; Object where a table cannot contain it."""
    try:
        return pl.Series([_to_python(value)], strict=True).dtype
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        return pl.Object()


def _to_python(value: object) -> object:
    """Return a value in Python's own types; NaN becomes null."""
    plain: object = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def _shorten_repr(value: object) -> str:
    """Return the value's repr, at most 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
