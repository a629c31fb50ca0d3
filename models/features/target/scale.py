"""Scale of targets that are numbers: mean and standard deviation of all rows and of each entity.

Shapes: R rows.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError

_MIN_ROWS = 8
"""Training rows that an entity needs for a scale of its own."""

_NO_STATISTICS = pl.DataFrame(
    schema={"entity": pl.String, "count": pl.Int64, "mean": pl.Float64, "squares": pl.Float64}
)


class TargetScale(NamedTuple):
    """Mean and standard deviation of all rows, and of each entity that has a scale of its own."""

    mean: float
    std: float
    entities: dict[str, tuple[float, float]]


def read_numbers(column: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a column as float64, NaN where a value is missing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def fit_scale(targets: Iterable[tuple[pl.Series, pl.Series | None]], name: str) -> TargetScale:
    """Fit on chunks of a column, each with its rows' entities where these are scaled apart.

    Raises:
        UnlearnableError: the number is constant.
    """
    statistics = _NO_STATISTICS
    for column, entities in targets:
        statistics = _add_statistics(statistics, column, entities)
    overall = _merge_statistics(statistics.with_columns(entity=pl.lit("")))
    mean, squares = overall["mean"].item(), overall["squares"].item()
    std = float(np.sqrt(squares / overall["count"].item()))
    if std <= 1e-12 * abs(mean):
        raise UnlearnableError(
            f"target '{name}' is {mean} in every training row: "
            "there is nothing to predict; choose another target or more data"
        )
    large_entities = statistics.filter(pl.col("entity").is_not_null(), pl.col("count") >= _MIN_ROWS)
    return TargetScale(mean, std, _compute_entity_scales(large_entities, std))


def _add_statistics(
    statistics: pl.DataFrame, column: pl.Series, entities: pl.Series | None
) -> pl.DataFrame:
    """Return count, mean and sum of squares around it of each entity, with one chunk added."""
    names = entities.cast(pl.String) if entities is not None else [None] * len(column)
    values = pl.DataFrame(
        {"entity": pl.Series(names, dtype=pl.String), "value": read_numbers(column)}
    )
    value = pl.col("value")
    known = values.filter(value.is_finite())
    chunk = known.group_by("entity", maintain_order=True).agg(
        count=pl.len().cast(pl.Int64),
        mean=value.mean(),
        squares=((value - value.mean()) ** 2).sum(),
    )
    return _merge_statistics(pl.concat([statistics, chunk]))


def _merge_statistics(statistics: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each entity from several (Chan, Golub and LeVeque 1979)."""
    count, mean, squares = pl.col("count"), pl.col("mean"), pl.col("squares")
    center = (mean * count).sum() / count.sum()
    return statistics.group_by("entity", maintain_order=True).agg(
        count=count.sum(),
        mean=center,
        squares=squares.sum() + (count * (mean - center) ** 2).sum(),
    )


def _compute_entity_scales(statistics: pl.DataFrame, std: float) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each entity; a constant one gets the latter of all."""
    scales = statistics.sort("entity").with_columns(
        std=(pl.col("squares") / pl.col("count")).sqrt()
    )
    is_constant = pl.col("std") <= 1e-12 * pl.col("mean").abs()
    scales = scales.with_columns(std=pl.when(is_constant).then(std).otherwise(pl.col("std")))
    return {name: (m, s) for name, m, s in scales.select("entity", "mean", "std").iter_rows()}
