"""Columns with values of several types: those of a wrong type become null, each with a reason."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.featurizer import check_columns

UNKNOWN_TYPES = {pl.Null(), pl.Object()}
"""Types that say nothing about the type of a column."""

TypeCheck = Callable[[pl.DataType], bool]


class CleanColumn(NamedTuple):
    """A column of one type, and why some of its rows are null."""

    column: pl.Series
    reasons: dict[int, str]
    """By row."""


def build_type_check(layout: Layout, name: str) -> TypeCheck:
    """Return the check whether this layout reads a column of a given type."""
    others = dict.fromkeys(layout.raw_columns, pl.Null())

    def fits(dtype: pl.DataType) -> bool:
        try:
            check_columns(pl.Schema({**others, name: dtype}), layout)
        except UnlearnableError:
            return False
        return True

    return fits


def clean_column(name: str, values: Sequence[Any], fits: TypeCheck) -> CleanColumn:
    """Return a column of one type from values of several.

    Values of types that fit stay; where none fits, or they have no common type, those of the most
    frequent type.
    """
    types = [infer_type(value) for value in values]
    common = [dtype for dtype, _ in Counter(types).most_common() if dtype not in UNKNOWN_TYPES]
    good = [dtype for dtype in common if fits(dtype)]
    for valid in (good, good[:1] or common[:1], []):
        allowed = {pl.Null(), *valid}
        try:
            column = pl.Series(
                name,
                [
                    to_python(value) if dtype in allowed else None
                    for value, dtype in zip(values, types, strict=True)
                ],
                strict=True,
            )
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            continue
        break
    wrong = [row for row, dtype in enumerate(types) if dtype not in allowed]
    reason = "which is of another type than it was in training"
    return CleanColumn(
        column,
        {row: f"column '{name}' holds {shorten_repr(values[row])}, {reason}" for row in wrong},
    )


def infer_type(value: object) -> pl.DataType:
    """Return the type of one value; an object where no table can hold it."""
    try:
        return pl.Series([to_python(value)], strict=True).dtype
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        return pl.Object()


def to_python(value: object) -> object:
    """Return a value in Python's own types; NaN becomes null."""
    listed: object = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(listed, float) and math.isnan(listed) else listed


def shorten_repr(value: object) -> str:
    """Return the value's repr, at most 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
