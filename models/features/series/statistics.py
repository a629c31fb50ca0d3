"""Count, mean, variance and extremes of channels for each group, in one pass over chunks.

Each chunk is summed around its own means, and chunks are merged (Chan, Golub and LeVeque 1979), so
that data far from zero keeps its digits, and the size of chunks changes only the last of them.
Shapes: C channels, N steps, S series, G groups, M parts of groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from models.features.steps import Doubles, Integers

NO_ENTITY = "\0nobody"
"""Entity of a series that has none."""


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """One row for each group, one column for each channel."""

    count_GC: Doubles
    mean_GC: Doubles
    rest_GC: Doubles
    """Rounding error of the mean: the exact mean is the sum of both."""
    squares_GC: Doubles
    """Sum of the squared distances from the mean."""
    low_GC: Doubles
    high_GC: Doubles


class StatisticsStream:
    """Statistics of a stream of chunks by name; memory grows with the number of names alone."""

    def __init__(self) -> None:
        self.names: list[pl.Series] = []
        self.parts: list[ChannelStatistics] = []
        self.row_count, self.merged_count = 0, 0

    def add(self, names: pl.Series, statistics: ChannelStatistics) -> None:
        """Add statistics of these names, which may repeat."""
        self.names.append(names)
        self.parts.append(statistics)
        self.row_count += len(names)
        # Only at twice as many rows as names, so that each row is merged a bounded number of times.
        if self.row_count > 2 * self.merged_count + 1000:
            self.merge()

    def merge(self) -> tuple[pl.Series, ChannelStatistics]:
        """Return all names in order, and one row of statistics for each."""
        names = pl.concat(self.names)
        groups = (names.rank("dense") - 1).to_numpy().astype(np.int64)
        distinct = names.unique().sort()
        merged = merge_statistics(concatenate_statistics(self.parts), groups, len(distinct))
        self.names, self.parts = [distinct], [merged]
        self.row_count = self.merged_count = len(distinct)
        return distinct, merged


def compute_statistics(values_CN: Doubles, begins_S: Integers) -> ChannelStatistics:
    """Return the statistics of runs of steps, without NaN.

    Args:
        values_CN: steps of all series, one after the other.
        begins_S: index of the first step of each run.
    """
    by_channel = [_compute_channel_statistics(row_N, begins_S) for row_N in values_CN]
    if not by_channel:
        # A series of classes alone.
        nothing = np.empty((len(begins_S), 0))
        return ChannelStatistics(*(nothing for _ in fields(ChannelStatistics)))
    return ChannelStatistics(*(np.stack(parts, axis=1) for parts in zip(*by_channel, strict=True)))


def merge_statistics(parts: ChannelStatistics, groups_M: Integers, size: int) -> ChannelStatistics:
    """Return one row for each group from several.

    Args:
        parts: one row for each part of a group.
        groups_M: number of the group of each part.
        size: number of groups; each has a part.
    """
    order = np.argsort(groups_M, kind="stable")
    begins = np.searchsorted(groups_M[order], np.arange(size))
    count, mean, rounding, squares, low, high = (part[order] for part in _list_arrays(parts))
    counts = np.add.reduceat(count, begins)
    divisor = np.maximum(counts, 1.0)
    lengths = np.diff(np.append(begins, len(order)))
    # Around the mean of one part, so that no digits are lost far from zero.
    origin = _find_known_mean(count, mean, begins)
    distance = mean - np.repeat(origin, lengths, axis=0) + rounding
    shift = np.add.reduceat(count * distance, begins) / divisor
    group_distance = distance - np.repeat(shift, lengths, axis=0)
    center = origin + shift
    return ChannelStatistics(
        counts,
        center,
        shift - (center - origin),
        np.add.reduceat(squares + count * group_distance**2, begins),
        np.minimum.reduceat(low, begins),
        np.maximum.reduceat(high, begins),
    )


def concatenate_statistics(parts: Sequence[ChannelStatistics]) -> ChannelStatistics:
    """Return the rows of all parts together."""
    columns = zip(*(_list_arrays(part) for part in parts), strict=True)
    return ChannelStatistics(*(np.concatenate(column) for column in columns))


def _compute_channel_statistics(values_N: Doubles, begins_S: Integers) -> tuple[Doubles, ...]:
    """Return the arrays of `ChannelStatistics` for one channel, [S] each."""
    lengths = np.diff(np.append(begins_S, len(values_N)))
    missing = np.isnan(values_N)
    has_gaps = bool(missing.any())

    def total(numbers_N: Doubles) -> Doubles:
        return np.add.reduceat(numbers_N, begins_S) if len(lengths) > 1 else numbers_N.sum()[None]

    count = total((~missing).astype(np.float64)) if has_gaps else lengths.astype(np.float64)
    divisor = np.maximum(count, 1.0)
    mean = total(np.where(missing, 0.0, values_N) if has_gaps else values_N) / divisor
    centered = values_N - np.repeat(mean, lengths)
    if has_gaps:
        centered[missing] = 0.0
    # The mean of the distances from the mean is the rounding error of the mean.
    rounding = total(centered) / divisor
    squares = np.maximum(total(np.square(centered, out=centered)) - count * rounding**2, 0.0)
    low = np.minimum.reduceat(
        np.where(missing, np.inf, values_N) if has_gaps else values_N, begins_S
    )
    high = np.maximum.reduceat(
        np.where(missing, -np.inf, values_N) if has_gaps else values_N, begins_S
    )
    return count, mean, rounding, squares, low, high


def _find_known_mean(count: Doubles, mean: Doubles, begins: Integers) -> Doubles:
    """Return the largest mean of the non-empty parts of each group; 0 where all are empty."""
    known = np.maximum.reduceat(np.where(count > 0, mean, -np.inf), begins)
    return np.where(np.isfinite(known), known, 0.0)


def _list_arrays(statistics: ChannelStatistics) -> tuple[Doubles, ...]:
    """Return the arrays in the order of the fields."""
    return tuple(getattr(statistics, field.name) for field in fields(statistics))
