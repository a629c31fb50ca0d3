"""Answers that cannot be learned are refused, with the mend."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import TargetConfig
from models.features.target.scale import to_numbers

NAMES = {pl.String, pl.Categorical, pl.Enum}


def is_class(kind: pl.DataType) -> bool:
    """Return whether a value can be a class."""
    return kind.is_integer() or kind.base_type() in {*NAMES, pl.Boolean}


def is_list_of_classes(kind: pl.DataType) -> bool:
    """Return whether a value can be a list of labels."""
    return isinstance(kind, pl.List) and is_class(pl.Series([], dtype=kind.inner).dtype)


FITS: dict[str, tuple[Callable[[pl.DataType], bool], str]] = {
    "category": (is_class, "set target.kind: number, or turn it into text or whole numbers"),
    "number": (lambda kind: kind.is_numeric(), "set target.kind: category, or make it a number"),
    "tags": (is_list_of_classes, "set target.kind: category, or make it a list of texts"),
    "forecast": (lambda kind: kind.is_numeric(), "set target.kind: category, or make it a number"),
    "text": (lambda kind: kind.base_type() in NAMES, "choose another target.kind, or make it text"),
}
"""What the column of each kind may hold, and the mend where it does not."""


def check_target(kind: pl.DataType, config: TargetConfig) -> None:
    """Refuse a target of the wrong type.

    Raises:
        UnlearnableError: says what it holds.
    """
    fits, mend = FITS[config.kind]
    if not fits(kind):
        raise UnlearnableError(
            f"target.kind is '{config.kind}', but column '{config.column}' holds {kind}; "
            f"{mend} upstream"
        )


def check_targets(column: pl.Series, rows: NDArray[np.int64], *, name: str) -> None:
    """Refuse answers that are missing.

    Args:
        column: answers.
        rows: the number of each answer's row, for the message.
        name: of the target.

    Raises:
        UnlearnableError: says how many, and the first row.
    """
    floats = column.dtype.is_float()
    missing = ~np.isfinite(to_numbers(column)) if floats else column.is_null().to_numpy()
    if missing.any():
        raise UnlearnableError(
            f"target '{name}' is missing or not finite in {missing.sum()} of {len(column)} rows "
            f"(first: row {int(rows[np.argmax(missing)])}); drop or mend these rows upstream"
        )
