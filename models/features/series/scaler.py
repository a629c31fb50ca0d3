"""Scales of a series' channels, fitted on training steps alone, in one pass over chunks.

Means, spreads and extremes are exact; medians and quartiles are exact up to the size of a sample
(see `sample`), and of a fair part of the steps beyond it.
Shapes: C channels, N steps, S series, E rows of a table: all entities together, then each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.series.channels import Doubles
from models.features.series.config import SeriesInput
from models.features.series.moments import (
    NOBODY,
    Statistics,
    Stream,
    compute_statistics,
    merge,
    stacked,
)
from models.features.series.sample import Sample
from models.features.steps import Integers

LEAST_STEPS = 8
"""Training steps that an entity's channel needs for a scale of its own."""

FLAT = 1e-12
"""A spread of no more than this part of the level is rounding, and the channel never changes."""

NORMAL_QUARTILES = 1.349
"""Of a normal distribution, the quartiles lie so many standard deviations apart."""


FIRST = np.zeros(1, np.int64)
"""Where the only run begins."""


class Chunk(NamedTuple):
    """Training steps, in the order of their series."""

    values_CN: Doubles
    series_N: Integers
    """Which series each step belongs to; they rise."""
    entities_S: pl.Series | None
    """Whose series they are, where each entity has its own scale."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scaler:
    """Centre and spread of each channel: row 0 for all, then a row for each entity."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    centre_EC: Doubles
    spread_EC: Doubles
    """1 where a channel never changes."""
    typical_EC: Doubles
    """What stands where a value is missing."""
    entities: tuple[str, ...] = ()
    """Row 1 is the first of them."""
    gaps: tuple[int, ...] = ()
    """Channels that have a companion, 1 where their value is missing."""

    @property
    def channels(self) -> int:
        """Channels after scaling."""
        return int(self.centre_EC.shape[1]) + len(self.gaps)

    def rows_of(self, entities_S: pl.Series | None) -> Integers | None:
        """Find the row of each entity, 0 for those that training never showed; None if all is."""
        if entities_S is None or not self.entities:
            return None
        known = pl.DataFrame({"name": self.entities}).with_row_index("row", offset=1)
        names = pl.DataFrame({"name": entity_names(entities_S)})
        found = names.join(known, on="name", how="left", maintain_order="left")["row"]
        return found.fill_null(0).to_numpy().astype(np.int64)


def entity_names(entities: pl.Series) -> pl.Series:
    """Read entities as text; whole numbers alike whether or not gaps made fractions of them."""
    if entities.dtype.is_float() and (entities.drop_nulls() % 1 == 0).all():
        entities = entities.fill_nan(None).cast(pl.Int64)
    return entities.cast(pl.String)


class Fitting:
    """What is known of the training steps that were read so far."""

    def __init__(self, read: SeriesInput) -> None:
        channels = len(read.channel_names)
        self.stream = Stream()
        self.missing_C = np.zeros(channels, np.int64)
        self.entities = False
        bounded = read.scaler in {"robust", "arcsinh"}
        self.whole = Sample(channels) if bounded else None
        self.own = Sample(channels) if bounded else None

    def add(self, chunk: Chunk) -> None:
        """Take in the next steps."""
        if not len(chunk.series_N):
            return
        self.entities = chunk.entities_S is not None
        begins = np.flatnonzero(np.diff(chunk.series_N, prepend=-1)) if self.entities else FIRST
        names = names_of(chunk, begins)
        self.stream.add(names, compute_statistics(chunk.values_CN, begins))
        self.missing_C += np.isnan(chunk.values_CN).sum(axis=1)
        if self.whole is not None:
            self.whole.add(chunk.values_CN, None)
        if self.own is not None and self.entities:
            lengths = np.diff(np.append(begins, len(chunk.series_N)))
            self.own.add(chunk.values_CN, names.gather(np.repeat(np.arange(len(names)), lengths)))

    def quartiles(self) -> dict[str, Doubles]:
        """Return the quartiles of all, then those of each name; nothing where none are wanted."""
        if self.whole is None or self.own is None:
            return {}
        found = self.whole.quartiles()
        each = self.own.quartiles() if self.entities else found
        return {name: np.concatenate([found[name], each[name]]) for name in found}


def names_of(chunk: Chunk, begins: Integers) -> pl.Series:
    """Name each series of a chunk; all alike where entities share a scale."""
    if chunk.entities_S is None:
        return pl.Series([NOBODY])
    return entity_names(chunk.entities_S.gather(chunk.series_N[begins])).fill_null(NOBODY)


def fit_scaler(chunks: Iterable[Chunk], read: SeriesInput) -> Scaler:
    """Fit on the training steps.

    Args:
        chunks: in any cut; sums depend on the cut in their last bits.
        read: how to scale.

    Raises:
        UnlearnableError: there are no steps, or a channel has no finite value.
    """
    fitting = Fitting(read)
    for chunk in chunks:
        fitting.add(chunk)
    if not fitting.stream.names:
        raise UnlearnableError("the training split has no steps")
    names, each = fitting.stream.settle()
    every = merge(each, np.zeros(len(names), np.int64), 1)
    for channel in np.flatnonzero(every.count_GC[0] == 0):
        name = read.channel_names[channel]
        raise UnlearnableError(f"column '{name}' has no finite value in training")
    scale = own_or_all(scale_of(stacked([every, each]), fitting.quartiles(), read))
    # A series without a name counts for all of them.
    rows = np.append(0, np.flatnonzero((names != NOBODY).to_numpy()) + 1)
    return Scaler(
        centre_EC=scale.centre_EC[rows],
        spread_EC=scale.spread_EC[rows],
        typical_EC=fillings(scale.typical_EC[rows], read),
        entities=tuple(names.filter(names != NOBODY).to_list()),
        gaps=flagged(fitting.missing_C, read),
    )


class Scale(NamedTuple):
    """How rows are scaled: all, then each entity."""

    count_EC: Doubles
    centre_EC: Doubles
    spread_EC: Doubles
    typical_EC: Doubles


def scale_of(moments: Statistics, quartiles: dict[str, Doubles], read: SeriesInput) -> Scale:
    """Take what the job asks for from what is known of each row."""
    count, mean = moments.count_GC, moments.mean_GC
    deviation = np.sqrt(moments.squares_GC / np.maximum(count, 1.0))
    if read.scaler == "none":
        return Scale(count, np.zeros_like(mean), np.ones_like(mean), mean)
    if read.scaler == "minmax":
        low = np.where(count > 0, moments.low_GC, 0.0)
        high = np.where(count > 0, moments.high_GC, 0.0)
        return Scale(count, low, high - low, mean)
    if read.scaler == "standard":
        return Scale(count, mean, deviation, mean)
    median = np.where(np.isnan(quartiles["median"]), mean, quartiles["median"])
    spread = (quartiles["upper"] - quartiles["lower"]) / NORMAL_QUARTILES
    # More than half of the values are the same: quartiles tell nothing, the deviation does.
    steady = ~(spread > FLAT * np.abs(median))
    return Scale(count, median, np.where(steady, deviation, spread), median)


def own_or_all(scale: Scale) -> Scale:
    """Let rows with few steps take what all have, and rows that never change their spread."""
    flat = scale.spread_EC <= FLAT * np.abs(scale.centre_EC)
    spread = np.where(flat, np.where(flat[0], 1.0, scale.spread_EC[0]), scale.spread_EC)
    few = scale.count_EC < LEAST_STEPS
    parts = (scale.centre_EC, spread, scale.typical_EC)
    return Scale(scale.count_EC, *(np.where(few, part[0], part) for part in parts))


def fillings(typical_EC: Doubles, read: SeriesInput) -> Doubles:
    """Return what stands for a missing value; the typical gap for a first step."""
    if read.impute != "zero":
        return typical_EC
    zeros = np.zeros_like(typical_EC)
    if read.time_delta:
        zeros[:, -1] = typical_EC[:, -1]
    return zeros


def flagged(missing_C: Integers, read: SeriesInput) -> tuple[int, ...]:
    """List the channels whose gaps are flagged; the time since the step before has none."""
    asked = {
        "auto": missing_C > 0,
        "always": np.ones(len(missing_C), bool),
        "never": np.zeros(len(missing_C), bool),
    }[read.missing_indicator]
    return tuple(np.flatnonzero(asked[: len(read.columns)]).tolist())
