"""Sketches of a stream in bounded memory: a uniform sample, and the most frequent values."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_SAMPLE = 100_000
"""Numbers in the sample for choosing edges: a bin of 1 % then has 1 % +- 0.03 % of the rows."""

_MAX_DISTINCT = 50
"""With at most this many distinct numbers, each gets its own bin."""

_MIN_REPEATS = 5
"""Occurrences of a number (the median, if few are distinct) from which it is a discrete value, so
that numbers close to it are counted apart."""

_BINS = 100

_MAX_FREQUENT = 50_000
"""Distinct values that are held in memory."""

_COUNTS_SCHEMA = {"value": pl.String, "count": pl.Int64}


@dataclass(slots=True)
class UniformSample:
    """A uniform sample of a stream, chosen by position alone: the same however it is batched.

    Each position in the stream has a fixed pseudo-random priority (splitmix64: Steele, Lea and
    Flood, "Fast splittable pseudorandom number generators", 2014), and the numbers with the lowest
    priorities are kept. A stream of at most MAX_SAMPLE numbers is kept completely.
    """

    seen: int = 0
    max_priority: np.uint64 = field(default_factory=lambda: np.uint64(2**64 - 1))
    numbers: FloatArray = field(default_factory=lambda: np.empty(0))
    priorities: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    low: float = np.inf
    high: float = -np.inf
    distinct_numbers: FloatArray = field(default_factory=lambda: np.empty(0))
    """All distinct numbers, up to _MAX_DISTINCT + 1 of them."""

    def add(self, numbers: FloatArray) -> None:
        """Add finite numbers."""
        if not len(numbers):
            return
        self.low = min(self.low, float(numbers.min()))
        self.high = max(self.high, float(numbers.max()))
        if len(self.distinct_numbers) <= _MAX_DISTINCT:
            self.distinct_numbers = np.unique(np.append(self.distinct_numbers, numbers))[
                : _MAX_DISTINCT + 1
            ]
        priorities = _mix_bits(np.arange(self.seen, self.seen + len(numbers), dtype=np.uint64))
        self.seen += len(numbers)
        kept = priorities <= self.max_priority
        self.numbers = np.append(self.numbers, numbers[kept])
        self.priorities = np.append(self.priorities, priorities[kept])
        if len(self.numbers) > 2 * MAX_SAMPLE:
            self._shrink()

    def _shrink(self) -> None:
        """Drop all but the MAX_SAMPLE numbers of the lowest priorities."""
        if len(self.numbers) > MAX_SAMPLE:
            first = np.argpartition(self.priorities, MAX_SAMPLE - 1)[:MAX_SAMPLE]
            self.numbers, self.priorities = self.numbers[first], self.priorities[first]
            self.max_priority = self.priorities.max()

    def compute_edges(self) -> tuple[float, ...]:
        """Choose bin edges with about equally many numbers in each bin.

        If only few numbers are distinct, each of them is an edge. A number that fills a bin alone
        gets a bin from itself to the next float, which separates it from the numbers above it; but
        only if it repeats, because a few measurements of a continuous value do not.
        """
        if not self.seen:
            return ()
        self._shrink()
        if len(self.distinct_numbers) <= _MAX_DISTINCT:
            inner = self.distinct_numbers
            repeats = np.unique(self.numbers, return_counts=True)[1]
            alone = inner if np.median(repeats) >= _MIN_REPEATS else inner[:0]
        else:
            inner, alone = _cut_quantiles(np.sort(self.numbers))
        ends = np.append(alone, self.high)
        return _sort_edges(np.concatenate([[self.low], inner, _step_to_next_float(ends)]))


@dataclass(slots=True)
class FrequentValues:
    """The most frequent values of a stream, in bounded memory.

    Exact while no more than `capacity` values differ. Beyond it, Misra and Gries' summary in the
    mergeable form of Agarwal et al., "Mergeable summaries" (2012): every value that makes up more
    than one in `capacity` of the stream is kept, its count too low by no more than that share.
    """

    capacity: int = _MAX_FREQUENT
    counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_COUNTS_SCHEMA))
    pending: list[pl.DataFrame] = field(default_factory=list)
    pending_rows: int = 0
    distinct: int = 0
    """Largest number of values held at once: exact up to `capacity`, beyond it a lower bound."""

    def add(self, counted: pl.DataFrame) -> None:
        """Add values with their counts."""
        self.pending.append(counted)
        self.pending_rows += counted.height
        if self.pending_rows > self.capacity:
            self.merge_pending()

    def merge_pending(self) -> None:
        """Merge the pending counts, and drop the rarest values beyond the capacity."""
        if not self.pending:
            return
        summed = sum_counts(pl.concat([self.counts, *self.pending]))
        self.pending, self.pending_rows = [], 0
        self.distinct = max(self.distinct, summed.height)
        if summed.height > self.capacity:
            floor = summed["count"].top_k(self.capacity + 1).min()
            summed = summed.with_columns(pl.col("count") - floor).filter(pl.col("count") > 0)
        self.counts = summed

    def list_top(self, size: int) -> tuple[str, ...]:
        """List the most frequent values, ties in alphabetical order."""
        self.merge_pending()
        ordered = self.counts.sort("count", "value", descending=[True, False])
        return tuple(ordered["value"].head(size).to_list())


def sum_counts(counted: pl.DataFrame) -> pl.DataFrame:
    """Sum the counts of equal values."""
    return counted.group_by("value").agg(pl.col("count").sum())


def _cut_quantiles(ordered: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the cuts of sorted numbers into equal parts, and those cuts that fill a part alone."""
    cuts = np.quantile(ordered, np.arange(1, _BINS) / _BINS, method="inverted_cdf")
    inner, times = np.unique(cuts, return_counts=True)
    ends = np.searchsorted(ordered, inner, side="right")
    repeats = ends - np.searchsorted(ordered, inner, side="left")
    following = ordered[np.minimum(ends, len(ordered) - 1)]
    # Without numbers up to the next cut, a new number there would always count as drift.
    alone = (times > 1) & (repeats >= _MIN_REPEATS) & ~np.isin(following, inner)
    return inner, inner[alone]


def _mix_bits(positions: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash positions to 64 bits, with the finalizer of splitmix64."""
    mixed = (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _step_to_next_float(numbers: FloatArray) -> FloatArray:
    """Return the next larger floats."""
    with np.errstate(over="ignore"):
        return np.nextafter(numbers, np.inf)


def _sort_edges(edges: FloatArray) -> tuple[float, ...]:
    """Sort edges, without duplicates and infinities."""
    return tuple(float(edge) for edge in np.unique(edges[np.isfinite(edges)]) + 0.0)
