"""The scale of answers that are numbers: mean and spread, of all rows and of each entity.

Shapes: R rows.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError

LEAST_ROWS = 8
"""Training rows that an entity needs for a scale of its own."""

NO_MOMENTS = pl.DataFrame(
    schema={"entity": pl.String, "count": pl.Int64, "mean": pl.Float64, "squares": pl.Float64}
)


class Scale(NamedTuple):
    """What is taken away from a number, and by what it is divided."""

    mean: float
    spread: float
    entities: dict[str, tuple[float, float]]


def to_numbers(column: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Read a column as float64, NaN where it is missing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def fit_scale(answers: Iterable[tuple[pl.Series, pl.Series | None]], name: str) -> Scale:
    """Fit on pieces of a column, each with its rows' entities where these are scaled apart.

    Raises:
        UnlearnableError: the number never changes.
    """
    moments = NO_MOMENTS
    for column, entities in answers:
        moments = add_moments(moments, column, entities)
    every = merge_moments(moments.with_columns(entity=pl.lit("")))
    mean, squares = every["mean"].item(), every["squares"].item()
    spread = float(np.sqrt(squares / every["count"].item()))
    if spread <= 1e-12 * abs(mean):
        raise UnlearnableError(
            f"target '{name}' is {mean} in every training row: "
            "there is nothing to predict; choose another target or more data"
        )
    own = moments.filter(pl.col("entity").is_not_null(), pl.col("count") >= LEAST_ROWS)
    return Scale(mean, spread, own_scales(own, spread))


def add_moments(
    moments: pl.DataFrame, column: pl.Series, entities: pl.Series | None
) -> pl.DataFrame:
    """Add one piece to the count, mean and sum of squares around it, entity by entity."""
    names = entities.cast(pl.String) if entities is not None else [None] * len(column)
    values = pl.DataFrame(
        {"entity": pl.Series(names, dtype=pl.String), "value": to_numbers(column)}
    )
    value = pl.col("value")
    known = values.filter(value.is_finite())
    here = known.group_by("entity", maintain_order=True).agg(
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
    """Return each entity its mean and spread; one that never changes takes the spread of all."""
    own = moments.sort("entity").with_columns(spread=(pl.col("squares") / pl.col("count")).sqrt())
    steady = pl.col("spread") <= 1e-12 * pl.col("mean").abs()
    own = own.with_columns(spread=pl.when(steady).then(spread).otherwise(pl.col("spread")))
    return {name: (m, s) for name, m, s in own.select("entity", "mean", "spread").iter_rows()}
