"""Targets: classes as codes, numbers on the scale that a network likes.

Shapes: R rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
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
    entities: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Mean and spread of each entity's own answers, where series are scaled one by one."""

    def encode(self, column: pl.Series, entities: pl.Series | None = None) -> Floats:
        """Turn answers into codes or scaled numbers; NaN where the answer is missing."""
        if not self.classes:
            mean, spread = self.scales(len(column), entities)
            return ((to_numbers(column) - mean) / spread).astype(np.float32)
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

    def decode(self, outputs: NDArray[Any], entities: pl.Series | None = None) -> pl.Series:
        """Turn codes into classes, or scaled numbers into numbers."""
        if not self.classes:
            mean, spread = self.scales(len(outputs), entities)
            return pl.Series(outputs.astype(np.float64) * spread + mean)
        return pl.Series(list(self.classes)).gather(outputs.astype(np.int64))

    def scales(
        self, rows: int, entities: pl.Series | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the mean and spread of each row: its entity's own, or those of all."""
        means, spreads = np.full(rows, self.mean), np.full(rows, self.spread)
        if entities is None or not self.entities:
            return means, spreads
        known = pl.DataFrame(
            {
                "entity": list(self.entities),
                "mean": [mean for mean, _ in self.entities.values()],
                "spread": [spread for _, spread in self.entities.values()],
            }
        )
        names = pl.DataFrame({"entity": entities.cast(pl.String)})
        found = names.join(known, on="entity", how="left", maintain_order="left")
        own = found["mean"].is_not_null().to_numpy()
        means[own] = found["mean"].drop_nulls().to_numpy()
        spreads[own] = found["spread"].drop_nulls().to_numpy()
        return means, spreads


def str_of(value: str | int | bool) -> str:
    """Write a class as Polars writes it when it casts to text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_numbers(column: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Read a column as float64, NaN where it is missing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def check_target(kinds: pl.DataType, config: TargetConfig) -> None:
    """Refuse a target of the wrong type.

    Raises:
        UnlearnableError: says what it holds.
    """
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


def check_answers(column: pl.Series, rows: NDArray[np.int64], *, name: str) -> None:
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


def fit_target(
    answers: Iterable[tuple[pl.Series, pl.Series | None]], config: TargetConfig
) -> Target:
    """Fit on the training rows' answers, in one pass over pieces of them.

    Args:
        answers: pieces of the column, each with its rows' entities where these are scaled apart.
        config: the section of the job.

    Raises:
        UnlearnableError: one class only, too many classes, or a number that never changes.
    """
    if config.kind == "category":
        return fit_classes((column for column, _ in answers), config.column)
    moments = NO_MOMENTS
    for column, entities in answers:
        moments = add_moments(moments, column, entities)
    every = merge_moments(moments.with_columns(entity=pl.lit("")))
    mean, squares = every["mean"].item(), every["squares"].item()
    spread = float(np.sqrt(squares / every["count"].item()))
    if spread <= 1e-12 * abs(mean):
        raise UnlearnableError(
            f"target '{config.column}' is {mean} in every training row: "
            "there is nothing to predict; choose another target or more data"
        )
    own = moments.filter(pl.col("entity").is_not_null(), pl.col("count") >= LEAST_ROWS)
    return Target(column=config.column, mean=mean, spread=spread, entities=own_scales(own, spread))


NO_MOMENTS = pl.DataFrame(
    schema={"entity": pl.String, "count": pl.Int64, "mean": pl.Float64, "squares": pl.Float64}
)

LEAST_ROWS = 8
"""Training rows that an entity needs for a scale of its own."""


def add_moments(
    moments: pl.DataFrame, column: pl.Series, entities: pl.Series | None
) -> pl.DataFrame:
    """Add one piece to the count, mean and sum of squares around it, entity by entity."""
    names = entities.cast(pl.String) if entities is not None else [None] * len(column)
    values = pl.DataFrame(
        {"entity": pl.Series(names, dtype=pl.String), "value": to_numbers(column)}
    )
    value = pl.col("value")
    here = values.group_by("entity", maintain_order=True).agg(
        count=pl.len().cast(pl.Int64),
        mean=value.mean(),
        squares=((value - value.mean()) ** 2).sum(),
    )
    return merge_moments(pl.concat([moments, here]))


def merge_moments(moments: pl.DataFrame) -> pl.DataFrame:
    """Bring the moments of each entity together (Chan, Golub and LeVeque 1979)."""
    count, mean, squares = pl.col("count"), pl.col("mean"), pl.col("squares")
    centre = (mean * count).sum() / count.sum()
    return moments.group_by("entity", maintain_order=True).agg(
        count=count.sum(),
        mean=centre,
        squares=squares.sum() + (count * (mean - centre) ** 2).sum(),
    )


def own_scales(moments: pl.DataFrame, spread: float) -> dict[str, tuple[float, float]]:
    """Give each entity its mean and spread; one that never changes takes the spread of all."""
    own = moments.sort("entity").with_columns(spread=(pl.col("squares") / pl.col("count")).sqrt())
    steady = pl.col("spread") <= 1e-12 * pl.col("mean").abs()
    own = own.with_columns(spread=pl.when(steady).then(spread).otherwise(pl.col("spread")))
    return {name: (m, s) for name, m, s in own.select("entity", "mean", "spread").iter_rows()}


def fit_classes(answers: Iterable[pl.Series], column: str) -> Target:
    """Collect the classes of the training rows.

    Raises:
        UnlearnableError: one class only, or too many.
    """
    held: pl.Series | None = None
    for piece in answers:
        texts = (
            piece.cast(pl.String) if isinstance(piece.dtype, (pl.Categorical, pl.Enum)) else piece
        )
        held = texts.unique() if held is None else held.append(texts.unique()).unique()
        if len(held) > MAX_CLASSES:
            raise UnlearnableError(
                f"target '{column}' has more than {MAX_CLASSES} classes in training; "
                "is it an identifier? Choose another target, or target.kind: number"
            )
    classes = [] if held is None else held.sort().to_list()
    if len(classes) < 2:
        raise UnlearnableError(
            f"target '{column}' has one class only in the training split: {classes}; "
            "there is nothing to tell apart; check the source, or split.by"
        )
    return Target(column=column, classes=tuple(classes))
