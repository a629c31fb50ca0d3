"""Quartiles of channels, group by group, from a sample of a stream that fits in memory.

Every training step has a fixed pseudo-random priority, made from its number (SplitMix64, Steele,
Lea and Flood 2014), and each group keeps its steps with the lowest. So the sample is the same
however the stream is cut, and follows no season, as every tenth step would. A group of no more
steps than it may keep has exact quartiles; beyond it, the share of steps below a quartile is off by
a standard error of 0.43 / sqrt(kept) (of the median: 0.5): 0.1 of a percentile with 200,000 kept,
4 with 100. Of 10,000 entities with 8 channels, each keeps 50 steps; of more than 30,000, 16.
Shapes: C channels, N steps, G groups.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.series.channels import Doubles

MOST_STEPS = 200_000
"""Steps that a group keeps at most."""

LEAST_STEPS = 16
"""Steps that a group may keep, however many groups there are."""

MOST_NUMBERS = 4_000_000
"""Numbers that all groups keep together, unless LEAST_STEPS of each are more."""

QUARTILES = {"lower": 0.25, "median": 0.5, "upper": 0.75}

Hashes = NDArray[np.uint64]


class Sample:
    """The steps that each group keeps."""

    def __init__(self, channels: int, most_numbers: int = MOST_NUMBERS) -> None:
        self.channels, self.most_numbers = channels, most_numbers
        self.parts: list[pl.DataFrame] = []
        self.seen = self.held = self.settled = 0
        self.limit = np.uint64(2**64 - 1)
        """No step of a higher priority will be kept, where there is one group."""
        self.alone = True

    def add(self, values_CN: Doubles, names_N: pl.Series | None) -> None:
        """Take in the next steps of the stream, each with its group's name if there are several."""
        numbers = np.arange(self.seen, self.seen + values_CN.shape[1], dtype=np.uint64)
        self.seen += len(numbers)
        priorities = priorities_of(numbers)
        kept = np.flatnonzero(priorities <= self.limit)
        columns = {str(place): row_N[kept] for place, row_N in enumerate(values_CN)}
        frame = pl.DataFrame({"priority": priorities[kept], **columns})
        name = pl.lit("") if names_N is None else names_N.gather(kept)
        self.parts.append(frame.with_columns(name=name))
        self.alone &= names_N is None
        self.held += len(kept)
        if self.held > self.settled + max(self.settled // 2, MOST_STEPS):
            self.settle()

    def settle(self) -> pl.DataFrame:
        """Keep the lowest priorities of each group."""
        rows = pl.concat(self.parts)
        groups = 1 if self.alone else max(1, rows["name"].n_unique())
        most = min(MOST_STEPS, max(LEAST_STEPS, self.most_numbers // (groups * self.channels)))
        if not self.alone:
            rows = rows.filter(pl.col("priority").rank("ordinal").over("name") <= most)
        elif len(rows) > most:
            self.limit = np.partition(rows["priority"].to_numpy(), most - 1)[most - 1]
            rows = rows.filter(pl.col("priority") <= pl.lit(self.limit))
        self.parts, self.held, self.settled = [rows], len(rows), len(rows)
        return rows

    def quartiles(self) -> dict[str, Doubles]:
        """Return the quartiles of each group, in the order of the names; NaN where it has none."""
        rows = self.settle().with_columns(pl.selectors.float().fill_nan(None))
        found = (
            rows.group_by("name")
            .agg(
                pl.col(str(place)).quantile(share, "linear").alias(f"{name}_{place}")
                for place in range(self.channels)
                for name, share in QUARTILES.items()
            )
            .sort("name")
        )
        columns = found.select(pl.selectors.float().fill_null(float("nan")))
        return {
            name: columns.select(f"{name}_{place}" for place in range(self.channels)).to_numpy()
            for name in QUARTILES
        }


def priorities_of(numbers: Hashes) -> Hashes:
    """Scatter the numbers of steps over 64 bits."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
