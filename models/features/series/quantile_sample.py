"""Quartiles of channels for each group, from a sample of a stream that fits in memory.

Every training step has a fixed pseudo-random priority, a hash of its number (SplitMix64, Steele,
Lea and Flood 2014), and each group keeps its steps with the lowest priorities. So the sample is the
same for every size of chunks, and follows no season, as every tenth step would. A group with no
more steps than it may keep has exact quartiles; for a larger one, the share of steps below a
quartile has a standard error of 0.43 / sqrt(kept) (0.5 for the median): 0.1 of a percentile with
200,000 kept, 4 with 100. Of 10,000 entities with 8 channels, each keeps 50 steps; of more than
30,000, 16.
Shapes: C channels, N steps, G groups.
"""

import numpy as np
import polars as pl

from models.features.steps import Doubles, Hashes

_MAX_STEPS = 200_000
"""Most steps of a group."""

_MIN_STEPS = 16
"""Steps that a group may keep for any number of groups."""

_MAX_NUMBERS = 4_000_000
"""Most numbers of all groups together, unless `_MIN_STEPS` of each are more."""

_QUARTILES = {"lower": 0.25, "median": 0.5, "upper": 0.75}


class QuantileSample:
    """The steps that each group keeps."""

    def __init__(self, channels: int, max_numbers: int = _MAX_NUMBERS) -> None:
        self.channels, self.max_numbers = channels, max_numbers
        self.parts: list[pl.DataFrame] = []
        self.steps_seen = self.row_count = self.trimmed_count = 0
        self.max_priority = np.uint64(2**64 - 1)
        """Steps of a higher priority will not be kept, where there is one group."""
        self.has_one_group = True

    def add(self, values_CN: Doubles, names_N: pl.Series | None) -> None:
        """Add the next steps of the stream, with the group of each if there are several."""
        numbers = np.arange(self.steps_seen, self.steps_seen + values_CN.shape[1], dtype=np.uint64)
        self.steps_seen += len(numbers)
        priorities = compute_priorities(numbers)
        kept_N = np.flatnonzero(priorities <= self.max_priority)
        columns = {str(channel): row_N[kept_N] for channel, row_N in enumerate(values_CN)}
        frame = pl.DataFrame({"priority": priorities[kept_N], **columns})
        name = pl.lit("") if names_N is None else names_N.gather(kept_N)
        self.parts.append(frame.with_columns(name=name))
        self.has_one_group &= names_N is None
        self.row_count += len(kept_N)
        if self.row_count > self.trimmed_count + max(self.trimmed_count // 2, _MAX_STEPS):
            self.trim()

    def trim(self) -> pl.DataFrame:
        """Drop all steps but those with the lowest priorities of each group, and return these."""
        rows = pl.concat(self.parts)
        groups = 1 if self.has_one_group else max(1, rows["name"].n_unique())
        max_steps = min(_MAX_STEPS, max(_MIN_STEPS, self.max_numbers // (groups * self.channels)))
        if not self.has_one_group:
            rows = rows.filter(pl.col("priority").rank("ordinal").over("name") <= max_steps)
        elif len(rows) > max_steps:
            self.max_priority = np.partition(rows["priority"].to_numpy(), max_steps - 1)[
                max_steps - 1
            ]
            rows = rows.filter(pl.col("priority") <= pl.lit(self.max_priority))
        self.parts, self.row_count, self.trimmed_count = [rows], len(rows), len(rows)
        return rows

    def compute_quartiles(self) -> dict[str, Doubles]:
        """Return the quartiles of each group, in the order of the names; NaN where it has none."""
        rows = self.trim().with_columns(pl.selectors.float().fill_nan(None))
        table = (
            rows.group_by("name")
            .agg(
                pl.col(str(channel)).quantile(level, "linear").alias(f"{name}_{channel}")
                for channel in range(self.channels)
                for name, level in _QUARTILES.items()
            )
            .sort("name")
        )
        columns = table.select(pl.selectors.float().fill_null(float("nan")))
        return {
            name: columns.select(f"{name}_{channel}" for channel in range(self.channels)).to_numpy()
            for name in _QUARTILES
        }


def compute_priorities(numbers: Hashes) -> Hashes:
    """Return a hash of 64 bits of each step number."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
