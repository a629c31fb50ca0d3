"""Count, mean, spread and extremes of channels, group by group, in one pass over chunks.

Each chunk is summed around its own means, and chunks are merged (Chan, Golub and LeVeque 1979), so
that data far from zero keeps its digits and the cut changes no more than the last of them.
Shapes: C channels, N steps, S series, G groups, M parts of groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from models.features.series.channels import Doubles
from models.features.steps import Integers

NOBODY = "\0nobody"
"""The name of a series that has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """One row a group."""

    count_GC: Doubles
    mean_GC: Doubles
    rest_GC: Doubles
    """What the mean lost to rounding."""
    squares_GC: Doubles
    """Sum of the squared distances from the mean."""
    low_GC: Doubles
    high_GC: Doubles


def compute_statistics(values_CN: Doubles, begins_S: Integers) -> Statistics:
    """Describe runs of steps; NaN counts for nothing."""
    found = [channel_moments(row_N, begins_S) for row_N in values_CN]
    return Statistics(*(np.stack(parts, axis=1) for parts in zip(*found, strict=True)))


def channel_moments(values_N: Doubles, begins_S: Integers) -> tuple[Doubles, ...]:
    """Describe one channel."""
    lengths = np.diff(np.append(begins_S, len(values_N)))
    missing = np.isnan(values_N)
    gaps = bool(missing.any())

    def total(numbers_N: Doubles) -> Doubles:
        return np.add.reduceat(numbers_N, begins_S) if len(lengths) > 1 else numbers_N.sum()[None]

    count = total((~missing).astype(np.float64)) if gaps else lengths.astype(np.float64)
    many = np.maximum(count, 1.0)
    mean = total(np.where(missing, 0.0, values_N) if gaps else values_N) / many
    centred = values_N - np.repeat(mean, lengths)
    if gaps:
        centred[missing] = 0.0
    # What the sum lost to rounding shows in the distances from it.
    rest = total(centred) / many
    squares = np.maximum(total(np.square(centred, out=centred)) - count * rest**2, 0.0)
    low = np.minimum.reduceat(np.where(missing, np.inf, values_N) if gaps else values_N, begins_S)
    high = np.maximum.reduceat(np.where(missing, -np.inf, values_N) if gaps else values_N, begins_S)
    return count, mean, rest, squares, low, high


def merge(parts: Statistics, groups_M: Integers, size: int) -> Statistics:
    """Bring parts of the same group together."""
    order = np.argsort(groups_M, kind="stable")
    begins = np.searchsorted(groups_M[order], np.arange(size))
    count, mean, rest, squares, low, high = (part[order] for part in fields_of(parts))
    counts = np.add.reduceat(count, begins)
    many = np.maximum(counts, 1.0)
    lengths = np.diff(np.append(begins, len(order)))
    # Around the mean of one part, so that nothing is lost far from zero.
    origin = any_known(count, mean, begins)
    away = mean - np.repeat(origin, lengths, axis=0) + rest
    shift = np.add.reduceat(count * away, begins) / many
    apart = away - np.repeat(shift, lengths, axis=0)
    centre = origin + shift
    return Statistics(
        counts,
        centre,
        shift - (centre - origin),
        np.add.reduceat(squares + count * apart**2, begins),
        np.minimum.reduceat(low, begins),
        np.maximum.reduceat(high, begins),
    )


def any_known(count: Doubles, mean: Doubles, begins: Integers) -> Doubles:
    """Return each group's largest mean among parts that hold something; 0 where none does."""
    known = np.maximum.reduceat(np.where(count > 0, mean, -np.inf), begins)
    return np.where(np.isfinite(known), known, 0.0)


def fields_of(moments: Statistics) -> tuple[Doubles, ...]:
    """List the arrays."""
    return tuple(getattr(moments, field.name) for field in fields(moments))


def stacked(parts: Sequence[Statistics]) -> Statistics:
    """Lay parts under each other."""
    columns = zip(*(fields_of(part) for part in parts), strict=True)
    return Statistics(*(np.concatenate(column) for column in columns))


class Stream:
    """Moments of a stream of chunks, by name; memory grows with the names alone."""

    def __init__(self) -> None:
        self.names: list[pl.Series] = []
        self.parts: list[Statistics] = []
        self.waiting, self.settled = 0, 0

    def add(self, names: pl.Series, moments: Statistics) -> None:
        """Take in moments of these names, in which one may stand several times."""
        self.names.append(names)
        self.parts.append(moments)
        self.waiting += len(names)
        # Twice as many as there are names: each is merged a bounded number of times.
        if self.waiting > 2 * self.settled + 1000:
            self.settle()

    def settle(self) -> tuple[pl.Series, Statistics]:
        """Bring together what was taken in; names in order."""
        names = pl.concat(self.names)
        groups = (names.rank("dense") - 1).to_numpy().astype(np.int64)
        distinct = names.unique().sort()
        merged = merge(stacked(self.parts), groups, len(distinct))
        self.names, self.parts = [distinct], [merged]
        self.waiting = self.settled = len(distinct)
        return distinct, merged
