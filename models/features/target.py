"""Targets: classes as codes, numbers on the scale that a network likes.

Shapes: R rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features import TargetConfig
from models.features.steps import Floats

UNSEEN = -1.0
"""Code of a class that training never showed."""

MAX_CLASSES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What training fitted about the answer."""

    column: str
    classes: tuple[str | int | bool, ...] = ()
    """The classes of the training rows, sorted; empty for a number."""
    mean: float = 0.0
    spread: float = 1.0

    @property
    def outputs(self) -> int:
        """Numbers that a network puts out for one row."""
        return len(self.classes) or 1

    def encode(self, column: pl.Series) -> Floats:
        """Turn answers into codes or scaled numbers; NaN where the answer is missing."""
        if not self.classes:
            return ((to_numbers(column) - self.mean) / self.spread).astype(np.float32)
        answers = column.cast(pl.String)
        codes = answers.replace_strict(
            [str_of(value) for value in self.classes],
            range(len(self.classes)),
            default=UNSEEN,
            return_dtype=pl.Float32,
        )
        coded = pl.select(
            pl.when(answers.is_null()).then(float("nan")).otherwise(codes)
        ).to_series()
        return np.array(coded.to_numpy(), np.float32)

    def decode(self, outputs: NDArray[Any]) -> pl.Series:
        """Turn codes into classes, or scaled numbers into numbers."""
        if not self.classes:
            return pl.Series(outputs.astype(np.float64) * self.spread + self.mean)
        return pl.Series(list(self.classes)).gather(outputs.astype(np.int64))


def str_of(value: str | int | bool) -> str:
    """Write a class as Polars writes it when it casts to text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_numbers(column: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Read a column as float64, NaN where it is missing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def check_target(column: pl.Series, config: TargetConfig) -> None:
    """Refuse a target that is of the wrong type or missing in some row.

    Raises:
        UnlearnableError: says which rows.
    """
    kinds = column.dtype
    if config.kind == "number" and not kinds.is_numeric():
        raise UnlearnableError(
            f"target.kind is 'number', but column '{config.column}' holds {kinds}; "
            "set target.kind: category, or turn it into a number upstream"
        )
    if config.kind == "category" and not (
        kinds.is_integer() or kinds.base_type() in {pl.String, pl.Boolean, pl.Categorical, pl.Enum}
    ):
        raise UnlearnableError(
            f"target.kind is 'category', but column '{config.column}' holds {kinds}; "
            "set target.kind: number, or turn it into text or whole numbers upstream"
        )
    missing = ~np.isfinite(to_numbers(column)) if kinds.is_float() else column.is_null().to_numpy()
    if missing.any():
        raise UnlearnableError(
            f"target '{config.column}' is missing or not finite in {missing.sum()} of "
            f"{len(column)} rows (first: row {int(np.argmax(missing))}); "
            "drop or mend these rows upstream"
        )


def fit_target(answers: pl.Series, config: TargetConfig) -> Target:
    """Fit on the training rows' answers.

    Raises:
        UnlearnableError: one class only, too many classes, or a number that never changes.
    """
    if config.kind == "number":
        numbers = to_numbers(answers)
        if np.ptp(numbers) == 0.0:
            raise UnlearnableError(
                f"target '{config.column}' is {numbers[0]} in every training row: "
                "there is nothing to predict; choose another target or more data"
            )
        return Target(column=config.column, mean=float(numbers.mean()), spread=float(numbers.std()))
    if answers.dtype.base_type() in {pl.Categorical, pl.Enum}:
        answers = answers.cast(pl.String)
    classes = answers.unique().sort().to_list()
    if len(classes) < 2:
        raise UnlearnableError(
            f"target '{config.column}' has one class only in the training split: {classes}; "
            "there is nothing to tell apart; check the source, or split.by"
        )
    if len(classes) > MAX_CLASSES:
        raise UnlearnableError(
            f"target '{config.column}' has {len(classes)} classes in {len(answers)} training "
            "rows; is it an identifier? Choose another target, or target.kind: number"
        )
    return Target(column=config.column, classes=tuple(classes))
