"""A column in which some rows hold another type: those rows become gaps, each with its reason."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.featurizer import check_columns

UNTOLD = {pl.Null(), pl.Object()}
"""Types that tell nothing about a column."""

Fits = Callable[[pl.DataType], bool]


class Sorted(NamedTuple):
    """A column of one type, and why some of its rows are gaps."""

    column: pl.Series
    reasons: dict[int, str]
    """By row."""


def fitting(layout: Layout, name: str) -> Fits:
    """Tell which types of a column this layout reads."""
    others = dict.fromkeys(layout.raw_columns, pl.Null())

    def fits(dtype: pl.DataType) -> bool:
        try:
            check_columns(pl.Schema({**others, name: dtype}), layout)
        except UnlearnableError:
            return False
        return True

    return fits


def sort_out(name: str, values: Sequence[Any], fits: Fits) -> Sorted:
    """Make a column of values that are not all of one type.

    What is kept is of types that fit; where none does, or they have nothing in common, of the
    most common type.
    """
    types = [type_of(value) for value in values]
    common = [dtype for dtype, _ in Counter(types).most_common() if dtype not in UNTOLD]
    good = [dtype for dtype in common if fits(dtype)]
    for kept in (good, good[:1] or common[:1], []):
        allowed = {pl.Null(), *kept}
        try:
            column = pl.Series(
                name,
                [
                    plain(value) if dtype in allowed else None
                    for value, dtype in zip(values, types, strict=True)
                ],
                strict=True,
            )
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            continue
        break
    wrong = [row for row, dtype in enumerate(types) if dtype not in allowed]
    words = "which is of another type than it was in training"
    return Sorted(
        column, {row: f"column '{name}' holds {told(values[row])}, {words}" for row in wrong}
    )


def type_of(value: object) -> pl.DataType:
    """Tell the type of one value; an object where no table can hold it."""
    try:
        return pl.Series([plain(value)], strict=True).dtype
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        return pl.Object()


def plain(value: object) -> object:
    """Write a value in Python's own types; a number that is none is a gap."""
    listed: object = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(listed, float) and math.isnan(listed) else listed


def told(value: object) -> str:
    """Show a value, shortened."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
