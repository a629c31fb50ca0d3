"""Which rows train, which validate, which test: decided once and kept as the data grows.

By hash, a row's split depends on its own content (or its id's, or its group's) alone, so a new row
never moves an old one, and equal rows never stand on two sides. By time, the newest part is the
test, and a gap keeps neighbours apart. By column, the table says it.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.splitting.row_hash import identities
from models.units import Share, parse_duration

__all__ = [
    "NAMES",
    "TEST",
    "TRAINING",
    "UNUSED",
    "VALIDATION",
    "SplitConfig",
    "TimeCuts",
    "hashed_columns",
    "identities",
    "position_of",
    "split_by_hash",
    "split_by_time",
    "way_of",
]

TRAINING, VALIDATION, TEST, UNUSED = 0, 1, 2, 3

NAMES = ("training", "validation", "test", "unused")

UNITS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """How rows are divided into training, validation and test."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    by: Literal["auto", "hash", "time", "stratified", "column"] = "auto"
    """`hash` of the row's content, of `id` or of `group`; `time`: the newest rows are the test;
    `stratified`: by hash, and no class is left short; `column`: as the table says.
    `auto`: by `column` where one is named, by time for windows of a series, else by hash."""
    test: Share = 0.2
    """Share of the rows (by hash) or of the points in time (by time) that is never learned from.
    Without effect where a column says the split."""
    validation: Share = 0.1
    """Share that decides when to stop. Where a column says the split and names no validation, this
    share of its training rows is taken, by hash."""
    id: str | None = None
    """Column with the row's own key, hashed in place of the row's content: the row keeps its split
    even when its content is corrected."""
    group: str | None = None
    """Column whose equal values stay together, such as a patient or an author. Needs `hash`."""
    column: str | None = None
    """Column that says each row's split: train(ing), val(id(ation)) or dev, test, eval or holdout;
    unused for rows that take no part."""
    gap: int | str = 1
    """What is left unused after each cut: points in time, or a duration such as `7d` or `12h`.
    Needs `time`."""
    duplicates: Literal["remove", "keep"] = "remove"
    """Whether rows of validation and test whose input also stands in training are left out."""
    near_duplicate_threshold: float | None = None
    """Leave out also the texts of validation and test that share this part (Jaccard, such as 0.8)
    of their runs of five characters with a text of training."""

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to learn from, and settings that contradict."""
        for name, share in (("test", self.test), ("validation", self.validation)):
            if not 0 < share < 1:
                raise ValueError(f"{name}: {share} is not between 0 and 1")
        if self.test + self.validation >= 1:
            raise ValueError(
                f"test: {self.test} and validation: {self.validation} leave nothing for training"
            )
        gap_seconds = parse_duration(self.gap) if isinstance(self.gap, str) else self.gap
        if not isinstance(gap_seconds, (int, float)) or gap_seconds < 0:
            raise ValueError(f"gap: {self.gap} is negative; give 0 or more points in time")
        if (
            self.near_duplicate_threshold is not None
            and not 0.5 <= self.near_duplicate_threshold <= 1
        ):
            raise ValueError(
                f"near_duplicate_threshold: {self.near_duplicate_threshold} is not between 0.5 "
                "and 1; give 0.8"
            )
        refuse_contradictions(self)


def refuse_contradictions(config: SplitConfig) -> None:
    """Refuse columns that the way of the split has no use for."""
    if config.group and config.by == "time":
        raise ValueError("group: a split by time has no groups; set by: hash")
    if config.group and config.by == "stratified":
        raise ValueError("group: a group may hold several classes; set by: hash, or remove group")
    if config.id and config.group:
        raise ValueError("id: rows of one group are placed by their group; remove id or group")
    if config.id and config.by == "time":
        raise ValueError("id: a split by time hashes nothing; set by: hash, or remove id")
    if config.column and config.by not in {"auto", "column"}:
        raise ValueError(f"column: it says the split, so by: {config.by} cannot; remove one")
    if config.by == "column" and not config.column:
        raise ValueError("column: name the column that says each row's split")


class TimeCuts(NamedTuple):
    """The points in time where validation and test begin, as the numbers behind their type."""

    validation: float
    test: float


def way_of(config: SplitConfig, *, windows: bool) -> str:
    """Decide what `auto` means."""
    if config.by != "auto":
        return config.by
    if config.column:
        return "column"
    return "time" if windows else "hash"


def hashed_columns(config: SplitConfig, inputs: list[str]) -> list[str]:
    """Name the columns whose content places a row."""
    chosen = config.group or config.id
    return [chosen] if chosen else inputs


def position_of(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Place each hash between 0 and 1, where the shares are cut off from the left."""
    return hashes.astype(np.float64) / 2.0**64


def split_by_hash(hashes: NDArray[np.uint64], config: SplitConfig) -> NDArray[np.int8]:
    """Place each hash by its position between 0 and 1: test first, then validation."""
    position = position_of(hashes)
    splits = np.full(len(hashes), TRAINING, np.int8)
    splits[position < config.test + config.validation] = VALIDATION
    splits[position < config.test] = TEST
    return splits


def split_by_time(times: pl.Series, config: SplitConfig) -> tuple[NDArray[np.int8], TimeCuts]:
    """Cut the distinct points in time by share; the gap after each cut is unused.

    Raises:
        UnlearnableError: too few points in time for three parts, or rows without one.
    """
    if missing := times.null_count():
        raise UnlearnableError(
            f"column '{times.name}' is missing in {missing} of {len(times)} rows, so they can "
            "stand on neither side; drop them upstream, or set split.by: hash"
        )
    points = times.unique().sort()
    count = len(points)
    first_test = count - max(1, round(count * config.test))
    first_validation = first_test - max(1, round(count * config.validation))
    if first_validation < 1:
        raise UnlearnableError(
            f"column '{times.name}' has {count} distinct points in time, too few for a split "
            "into training, validation and test; give more data, or set split.by: hash"
        )
    rank = points.search_sorted(times).to_numpy().astype(np.int64)
    splits = np.full(len(times), TRAINING, np.int8)
    splits[rank >= first_validation] = UNUSED
    validated = (rank >= after_gap(points, first_validation, config.gap)) & (rank < first_test)
    splits[validated] = VALIDATION
    splits[rank >= after_gap(points, first_test, config.gap)] = TEST
    numbers = points.to_physical()
    cuts = TimeCuts(numbers[first_validation], numbers[first_test])
    return splits, cuts


def after_gap(points: pl.Series, cut: int, gap: int | str) -> int:
    """Find the first point in time that stands no longer in the gap after a cut.

    A day is 24 hours, also where the clocks change.

    Raises:
        UnlearnableError: a duration, and points that are mere numbers.
    """
    if isinstance(gap, int):
        return cut + gap
    seconds = float(str(parse_duration(gap)))
    if isinstance(points.dtype, pl.Date):
        units = math.ceil(seconds / 86400)
    elif isinstance(points.dtype, (pl.Datetime, pl.Duration)):
        units = round(seconds * UNITS[points.dtype.time_unit])
    elif isinstance(points.dtype, pl.Time):
        units = round(seconds * UNITS["ns"])
    else:
        raise UnlearnableError(
            f"split.gap: '{gap}' is a duration, and column '{points.name}' holds {points.dtype}, "
            "not dates or times; give the gap in points in time, such as gap: 7"
        )
    numbers = points.to_physical().cast(pl.Int64).to_numpy()
    return int(np.searchsorted(numbers, int(numbers[cut]) + units))


def split_columns(config: SplitConfig) -> list[str]:
    """Name the columns that a split reads beside the inputs, the target and the time."""
    return [name for name in (config.id, config.group, config.column) if name]
