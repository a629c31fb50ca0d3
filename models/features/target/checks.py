"""Checks of the type of the target, and of missing targets."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import TargetConfig
from models.features.target.scale import read_numbers

_TEXT_TYPES = {pl.String, pl.Categorical, pl.Enum}


def check_target_type(dtype: pl.DataType, config: TargetConfig, *, column: str) -> None:
    """Check the type of a column with the target.

    Args:
        dtype: of the column.
        config: with the kind of target.
        column: its name.

    Raises:
        UnlearnableError: this kind of target cannot have this type.
    """
    is_valid, hint = _TYPE_CHECKS[config.kind]
    if not is_valid(dtype):
        raise UnlearnableError(
            f"target.kind is '{config.kind}', but column '{column}' holds {dtype}; {hint} upstream"
        )


def check_missing_targets(column: pl.Series, rows: NDArray[np.int64], *, name: str) -> None:
    """Check that no target is missing.

    Args:
        column: targets.
        rows: the number of each target's row, for the message.
        name: of the target.

    Raises:
        UnlearnableError: some are missing or not finite; says how many, and the first row.
    """
    missing = mark_missing_targets(column)
    if missing.any():
        raise UnlearnableError(
            f"target '{name}' is missing or not finite in {missing.sum()} of {len(column)} rows "
            f"(first: row {int(rows[np.argmax(missing)])}); drop or fix these rows upstream"
        )


def mark_missing_targets(column: pl.Series) -> NDArray[np.bool_]:
    """Return which targets are missing or not finite."""
    if column.dtype.is_float():
        return np.logical_not(np.isfinite(read_numbers(column)))
    missing: NDArray[np.bool_] = column.is_null().to_numpy()
    return missing


def _is_class_type(dtype: pl.DataType) -> bool:
    """Return whether values of this type can be classes."""
    return dtype.is_integer() or dtype.base_type() in {*_TEXT_TYPES, pl.Boolean}


def _is_class_list_type(dtype: pl.DataType) -> bool:
    """Return whether values of this type can be lists of tags."""
    return isinstance(dtype, pl.List) and _is_class_type(pl.Series([], dtype=dtype.inner).dtype)


_TYPE_CHECKS: dict[str, tuple[Callable[[pl.DataType], bool], str]] = {
    "category": (_is_class_type, "set target.kind: number, or turn it into text or whole numbers"),
    "number": (lambda kind: kind.is_numeric(), "set target.kind: category, or make it a number"),
    "tags": (_is_class_list_type, "set target.kind: category, or make it a list of texts"),
    "forecast": (lambda kind: kind.is_numeric(), "set target.kind: category, or make it a number"),
    "text": (
        lambda kind: kind.base_type() in _TEXT_TYPES,
        "choose another target.kind, or make it text",
    ),
}
"""By kind: whether a type fits, and how to fix it where it does not."""
