"""Counting batches of one column: its numbers into bins, its texts by value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.drift.distribution import Numbers, Values
from data_contracts.drift.sketches import Floats, Frequent, sum_counts

MAX_CHARACTERS = 100
"""Longer values and words are known by their beginning."""

EXAMPLES = 5

SLICE_BYTES = 8 * 2**20
"""Texts that are cut into words at a time: a list of words takes several times the text's size."""


@dataclass(slots=True)
class Moments:
    """Count, mean and spread of numbers, batch by batch.

    By the update of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for
    computing sample variances", 1979), with weights in place of sums so that the largest floats do
    not overflow.
    """

    count: int = 0
    mean: float = 0.0
    std: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, numbers: Floats) -> None:
        """Take in finite numbers."""
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
        apart = (mean / 2 - self.mean / 2) * 2 * math.sqrt(old * new)
        self.low, self.high = min(self.low, low), max(self.high, high)
        spread = math.hypot(math.sqrt(old) * self.std, math.sqrt(new) * std, apart)
        # No spread is wider than half the range (Popoviciu), but rounding may take it there.
        self.std = min(spread, self.high / 2 - self.low / 2)
        self.mean = min(max(self.mean * old + mean * new, self.low), self.high)
        self.count = total


@dataclass(slots=True)
class NumberCounter:
    """Numbers counted into bins."""

    edges: Sequence[float]
    moments: Moments = field(default_factory=Moments)
    counts: NDArray[np.int64] = field(init=False)
    places: Floats = field(init=False)
    missing: int = 0
    negative: int = 0
    positive: int = 0

    def __post_init__(self) -> None:
        """Start at zero."""
        self.places = np.array(self.edges, dtype=np.float64)
        self.counts = np.zeros(len(self.edges) + 1, dtype=np.int64)

    def add(self, numbers: Floats) -> None:
        """Take in numbers, NaN for a missing one."""
        finite = finite_of(numbers)
        if len(finite) < len(numbers):
            self.missing += int(np.isnan(numbers).sum())
            self.negative += int(np.isneginf(numbers).sum())
            self.positive += int(np.isposinf(numbers).sum())
        places = np.searchsorted(self.places, finite, side="right")
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.moments.add(finite)

    def numbers(self) -> Numbers:
        """Close the counts."""
        some, moments = self.moments.count > 0, self.moments
        return Numbers(
            edges=tuple(self.edges),
            counts=tuple(self.counts.tolist()),
            missing=self.missing,
            negative_infinities=self.negative,
            positive_infinities=self.positive,
            mean=moments.mean if some else None,
            std=moments.std if some else None,
            min=moments.low if some else None,
            max=moments.high if some else None,
        )


@dataclass(slots=True)
class ValueCounter:
    """Texts counted by value: those listed each, the others together."""

    listed: Sequence[str]
    known: pl.DataFrame = field(init=False)
    counts: NDArray[np.int64] = field(init=False)
    others: int = 0
    unlisted: Frequent = field(default_factory=Frequent)

    def __post_init__(self) -> None:
        """Start at zero."""
        self.known = pl.DataFrame(
            {"value": list(self.listed), "place": range(len(self.listed))},
            schema={"value": pl.String, "place": pl.Int64},
        )
        self.counts = np.zeros(len(self.listed), dtype=np.int64)

    def add(self, counted: pl.DataFrame) -> None:
        """Take in different values with their counts."""
        placed = counted.join(self.known, on="value", how="left")
        found = placed.filter(pl.col("place").is_not_null())
        self.counts[found["place"].to_numpy()] += found["count"].to_numpy()
        rest = placed.filter(pl.col("place").is_null()).select("value", "count")
        self.others += int(rest["count"].sum())
        self.unlisted.add(rest)

    def values(self) -> Values:
        """Close the counts."""
        examples = self.unlisted.top(EXAMPLES)
        return Values(
            values=tuple(self.listed),
            counts=tuple(self.counts.tolist()),
            others=self.others,
            distinct=int((self.counts > 0).sum()) + self.unlisted.distinct,
            examples=examples,
        )


def finite_of(numbers: Floats) -> Floats:
    """Leave out NaN and infinities."""
    finite = np.isfinite(numbers)
    return numbers if finite.all() else numbers[finite]


def count_values(texts: pl.Series) -> pl.DataFrame:
    """Count each different text, clipped; nulls are left out."""
    counted = texts.drop_nulls().alias("value").value_counts(name="count")
    clipped = pl.col("value").str.head(MAX_CHARACTERS)
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
