"""What streams leave behind when memory is bounded: a fair sample, and the most frequent values."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_SAMPLE = 100_000
"""Numbers kept for choosing edges: a bin of 1% then holds 1% +- 0.03% of the rows."""

MAX_POINTS = 50
"""With no more distinct numbers than this, each gets a bin of its own."""

MIN_REPEATS = 5
"""Times that a number occurs (of few distinct ones, the middle one) before what lies close to it
counts as another number."""

BINS = 100

MAX_FREQUENT = 50_000
"""Values that are counted at a time."""

COUNTED = {"value": pl.String, "count": pl.Int64}


@dataclass(slots=True)
class Sample:
    """A uniform sample of a stream, by its rows' places alone: the same however it is cut.

    Each place in the stream has a fixed pseudo-random priority (splitmix64, Steele, Lea and Flood,
    "Fast splittable pseudorandom number generators", 2014), and the lowest are kept. A stream of no
    more than MAX_SAMPLE numbers is kept whole.
    """

    seen: int = 0
    limit: np.uint64 = field(default_factory=lambda: np.uint64(2**64 - 1))
    numbers: Floats = field(default_factory=lambda: np.empty(0))
    priorities: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    low: float = np.inf
    high: float = -np.inf
    points: Floats = field(default_factory=lambda: np.empty(0))
    """All distinct numbers, until they are too many."""

    def add(self, numbers: Floats) -> None:
        """Take in finite numbers."""
        if not len(numbers):
            return
        self.low = min(self.low, float(numbers.min()))
        self.high = max(self.high, float(numbers.max()))
        if len(self.points) <= MAX_POINTS:
            self.points = np.unique(np.append(self.points, numbers))[: MAX_POINTS + 1]
        priorities = mix(np.arange(self.seen, self.seen + len(numbers), dtype=np.uint64))
        self.seen += len(numbers)
        kept = priorities <= self.limit
        self.numbers = np.append(self.numbers, numbers[kept])
        self.priorities = np.append(self.priorities, priorities[kept])
        if len(self.numbers) > 2 * MAX_SAMPLE:
            self.shrink()

    def shrink(self) -> None:
        """Keep the lowest priorities only."""
        if len(self.numbers) > MAX_SAMPLE:
            first = np.argpartition(self.priorities, MAX_SAMPLE - 1)[:MAX_SAMPLE]
            self.numbers, self.priorities = self.numbers[first], self.priorities[first]
            self.limit = self.priorities.max()

    def edges(self) -> tuple[float, ...]:
        """Choose edges between which about equally many numbers lie.

        Few distinct numbers are edges, each of them. A number that fills a bin alone gets a bin
        that holds nothing else, from itself to the next float, so that what lies between is told
        from it; but only if it repeats, for between a handful of measurements there is room.
        """
        if not self.seen:
            return ()
        self.shrink()
        if len(self.points) <= MAX_POINTS:
            inner = self.points
            repeats = np.unique(self.numbers, return_counts=True)[1]
            alone = inner if np.median(repeats) >= MIN_REPEATS else inner[:0]
        else:
            inner, alone = quantiles(np.sort(self.numbers))
        ends = np.append(alone, self.high)
        return ascending(np.concatenate([[self.low], inner, after(ends)]))


def quantiles(ordered: Floats) -> tuple[Floats, Floats]:
    """Cut sorted numbers into equal parts; and name those that fill a part and are not alone."""
    cuts = np.quantile(ordered, np.arange(1, BINS) / BINS, method="inverted_cdf")
    inner, times = np.unique(cuts, return_counts=True)
    ends = np.searchsorted(ordered, inner, side="right")
    repeats = ends - np.searchsorted(ordered, inner, side="left")
    following = ordered[np.minimum(ends, len(ordered) - 1)]
    # A bin up to the next cut that holds nothing would make news of whatever falls between.
    alone = (times > 1) & (repeats >= MIN_REPEATS) & ~np.isin(following, inner)
    return inner, inner[alone]


def mix(places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter whole numbers over 64 bits."""
    mixed = (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def after(numbers: Floats) -> Floats:
    """Step to the next float."""
    with np.errstate(over="ignore"):
        return np.nextafter(numbers, np.inf)


def ascending(edges: Floats) -> tuple[float, ...]:
    """Sort, drop doubles and what lies beyond the largest float."""
    return tuple(float(edge) for edge in np.unique(edges[np.isfinite(edges)]) + 0.0)


@dataclass(slots=True)
class Frequent:
    """The most frequent values of a stream, in bounded memory.

    Exact while no more than `capacity` values differ. Beyond it, Misra and Gries' summary in the
    mergeable form of Agarwal et al., "Mergeable summaries" (2012): every value that makes up more
    than one in `capacity` of the stream is kept, its count too low by no more than that share.
    """

    capacity: int = MAX_FREQUENT
    kept: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=COUNTED))
    pending: list[pl.DataFrame] = field(default_factory=list)
    waiting: int = 0
    distinct: int = 0
    """Largest number of values held at once: exact, or beyond `capacity` a lower bound."""

    def add(self, counted: pl.DataFrame) -> None:
        """Take in values with their counts."""
        self.pending.append(counted)
        self.waiting += counted.height
        if self.waiting > self.capacity:
            self.settle()

    def settle(self) -> None:
        """Sum up what waits, and drop the rare when there are too many."""
        if not self.pending:
            return
        summed = sum_counts(pl.concat([self.kept, *self.pending]))
        self.pending, self.waiting = [], 0
        self.distinct = max(self.distinct, summed.height)
        if summed.height > self.capacity:
            floor = summed["count"].top_k(self.capacity + 1).min()
            summed = summed.with_columns(pl.col("count") - floor).filter(pl.col("count") > 0)
        self.kept = summed

    def top(self, size: int) -> tuple[str, ...]:
        """Name the most frequent, equals in alphabetical order."""
        self.settle()
        ordered = self.kept.sort("count", "value", descending=[True, False])
        return tuple(ordered["value"].head(size).to_list())


def sum_counts(counted: pl.DataFrame) -> pl.DataFrame:
    """Add up the counts of equal values."""
    return counted.group_by("value").agg(pl.col("count").sum())
