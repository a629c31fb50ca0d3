"""Count the batches of one column: numbers into bins, texts by value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.drift.distribution import NumberDistribution, ValueDistribution
from data_contracts.drift.sketches import FloatArray, FrequentValues, sum_counts

MAX_VALUE_LENGTH = 100
"""Longer values and words are cut to this many characters."""

_MAX_EXAMPLES = 5

SLICE_BYTES = 8 * 2**20
"""Bytes of texts that are split at a time: a list of words takes several times their memory."""


@dataclass(slots=True)
class RunningStatistics:
    """Count, mean, standard deviation and range of numbers, updated batch by batch.

    By the update of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for
    computing sample variances", 1979), with weights instead of sums so that the largest floats do
    not overflow.
    """

    count: int = 0
    mean: float = 0.0
    std: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, numbers: FloatArray) -> None:
        """Add finite numbers."""
        if not len(numbers):
            return
        low, high = float(numbers.min()), float(numbers.max())
        scale = max(abs(low), abs(high)) or 1.0
        scaled = numbers / scale
        # Rounding may carry the mean of equal numbers past them.
        mean = min(max(float(scaled.mean()) * scale, low), high)
        std = min(float(scaled.std()), 1.0) * scale if low < high else 0.0
        total = self.count + len(numbers)
        old, new = self.count / total, len(numbers) / total
        shift = (mean / 2 - self.mean / 2) * 2 * math.sqrt(old * new)
        self.low, self.high = min(self.low, low), max(self.high, high)
        merged = math.hypot(math.sqrt(old) * self.std, math.sqrt(new) * std, shift)
        # No standard deviation exceeds half the range (Popoviciu), but a rounded one may.
        self.std = min(merged, self.high / 2 - self.low / 2)
        self.mean = min(max(self.mean * old + mean * new, self.low), self.high)
        self.count = total


@dataclass(slots=True)
class NumberCounter:
    """Counts numbers into bins."""

    edges: Sequence[float]
    statistics: RunningStatistics = field(default_factory=RunningStatistics)
    counts: NDArray[np.int64] = field(init=False)
    edge_array: FloatArray = field(init=False)
    missing: int = 0
    negative_infinities: int = 0
    positive_infinities: int = 0

    def __post_init__(self) -> None:
        """Start at zero."""
        self.edge_array = np.array(self.edges, dtype=np.float64)
        self.counts = np.zeros(len(self.edges) + 1, dtype=np.int64)

    def add(self, numbers: FloatArray) -> None:
        """Add numbers, with NaN for missing ones."""
        finite = drop_non_finite(numbers)
        if len(finite) < len(numbers):
            self.missing += int(np.isnan(numbers).sum())
            self.negative_infinities += int(np.isneginf(numbers).sum())
            self.positive_infinities += int(np.isposinf(numbers).sum())
        bins = np.searchsorted(self.edge_array, finite, side="right")
        self.counts += np.bincount(bins, minlength=len(self.counts))
        self.statistics.add(finite)

    def build_distribution(self) -> NumberDistribution:
        """Build the distribution of the counts."""
        some, moments = self.statistics.count > 0, self.statistics
        return NumberDistribution(
            edges=tuple(self.edges),
            counts=tuple(self.counts.tolist()),
            missing=self.missing,
            negative_infinities=self.negative_infinities,
            positive_infinities=self.positive_infinities,
            mean=moments.mean if some else None,
            std=moments.std if some else None,
            min=moments.low if some else None,
            max=moments.high if some else None,
        )


@dataclass(slots=True)
class ValueCounter:
    """Counts texts by value: each listed one, and all others together."""

    listed: Sequence[str]
    index_table: pl.DataFrame = field(init=False)
    counts: NDArray[np.int64] = field(init=False)
    others: int = 0
    unlisted: FrequentValues = field(default_factory=FrequentValues)

    def __post_init__(self) -> None:
        """Start at zero."""
        self.index_table = pl.DataFrame(
            {"value": list(self.listed), "index": range(len(self.listed))},
            schema={"value": pl.String, "index": pl.Int64},
        )
        self.counts = np.zeros(len(self.listed), dtype=np.int64)

    def add(self, counted: pl.DataFrame) -> None:
        """Add distinct values (`value`) with their counts (`count`)."""
        indexed = counted.join(self.index_table, on="value", how="left")
        found = indexed.filter(pl.col("index").is_not_null())
        self.counts[found["index"].to_numpy()] += found["count"].to_numpy()
        rest = indexed.filter(pl.col("index").is_null()).select("value", "count")
        self.others += int(rest["count"].sum())
        self.unlisted.add(rest)

    def build_distribution(self) -> ValueDistribution:
        """Build the distribution of the counts."""
        examples = self.unlisted.list_top(_MAX_EXAMPLES)
        return ValueDistribution(
            values=tuple(self.listed),
            counts=tuple(self.counts.tolist()),
            others=self.others,
            distinct=int((self.counts > 0).sum()) + self.unlisted.distinct,
            examples=examples,
        )


def drop_non_finite(numbers: FloatArray) -> FloatArray:
    """Drop NaN and infinities."""
    finite = np.isfinite(numbers)
    return numbers if finite.all() else numbers[finite]


def count_values(texts: pl.Series) -> pl.DataFrame:
    """Count each distinct text, cut to MAX_VALUE_LENGTH; nulls are ignored."""
    counted = texts.drop_nulls().alias("value").value_counts(name="count")
    clipped = pl.col("value").str.head(MAX_VALUE_LENGTH)
    return sum_counts(counted.select(clipped, pl.col("count").cast(pl.Int64)))


def count_words(texts: pl.Series) -> pl.DataFrame:
    """Count the lower-cased words of texts: runs of letters, digits and underscores."""
    slices = 1 + int(texts.estimated_size()) // SLICE_BYTES
    rows = 1 + len(texts) // slices
    parts = []
    for start in range(0, max(1, len(texts)), rows):
        words = texts.slice(start, rows).str.to_lowercase().str.extract_all(r"\w+")
        parts.append(count_values(words.explode(empty_as_null=False, keep_nulls=False)))
    return sum_counts(pl.concat(parts)) if len(parts) > 1 else parts[0]
