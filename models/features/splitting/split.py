"""Which rows are for training, validation and test: a row keeps its split as the data grows.

By hash, the split of a row depends on its own content (or that of its id or group) alone, so a new
row never changes the split of an old one, and equal rows are never in two splits. By time, the
newest rows are the test, and a gap separates it from training. By column, the table gives the
split.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.units import Share, parse_duration

TRAINING, VALIDATION, TEST, UNUSED, UNLABELLED = 0, 1, 2, 3, 4
"""An unlabelled row is a training row without a target: only pretraining reads it."""

SPLIT_NAMES = ("training", "validation", "test", "unused", "unlabelled")

_TICKS_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """How rows are divided into training, validation and test."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    by: Literal["auto", "hash", "time", "stratified", "column"] = "auto"
    """`hash`: by the hash of the row's content, of `id` or of `group`. `time`: the newest rows are
    the test rows. `stratified`: by hash within each class. `column`: as a column of the table says.
    `auto`: `column` where one is given, `time` for windows of a series, else `hash`."""
    test: Share = 0.2
    """Share of the rows (by hash) or of the points in time (by time) for the test. Without effect
    where a column gives the split."""
    validation: Share = 0.1
    """Share for validation, which decides when training stops. Where a column gives the split
    without a validation part, this share of its training rows is taken, by hash."""
    id: str | None = None
    """Column with the row's key, which is hashed instead of the row's content: the row keeps its
    split even when its content is corrected."""
    group: str | None = None
    """Column whose equal values stay in one split, such as a patient or an author. Needs
    `by: hash`."""
    column: str | None = None
    """Column that gives each row's split: train(ing), val(id(ation)) or dev, test, eval or holdout;
    unused for rows of no split."""
    gap: int | str = 1
    """What is left out between two splits: points in time, or a duration such as `7d` or `12h`.
    Needs `by: time`."""
    duplicates: Literal["remove", "keep"] = "remove"
    """Whether validation and test rows whose input is also in training are removed."""
    near_duplicate_threshold: float | None = None
    """Removes also validation and test texts whose Jaccard similarity to a training text, over
    character 5-grams, is at least this; such as 0.8."""

    def __post_init__(self) -> None:
        """Validate shares, gap and columns.

        Raises:
            ValueError: no rows remain for training, or two settings contradict each other.
        """
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
        _check_columns(self)


class TimeCuts(NamedTuple):
    """The points in time where validation and test begin, as the physical numbers of their type."""

    validation: float
    test: float


def choose_split_method(config: SplitConfig, *, windows: bool) -> str:
    """Return the method of the split, with `auto` resolved.

    Args:
        config: the settings.
        windows: whether the rows are windows of series.
    """
    if config.by != "auto":
        return config.by
    if config.column:
        return "column"
    return "time" if windows else "hash"


def list_hashed_columns(config: SplitConfig, inputs: list[str]) -> list[str]:
    """Return the columns whose content decides about the split of a row."""
    chosen = config.group or config.id
    return [chosen] if chosen else inputs


def compute_positions(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return each hash as a number from 0 to 1; low ones are for the test, then for validation."""
    return hashes.astype(np.float64) / 2.0**64


def split_by_hash(hashes: NDArray[np.uint64], config: SplitConfig) -> NDArray[np.int8]:
    """Return the split of each hash by its position: test below its share, validation above it."""
    position = compute_positions(hashes)
    splits = np.full(len(hashes), TRAINING, np.int8)
    splits[position < config.test + config.validation] = VALIDATION
    splits[position < config.test] = TEST
    return splits


def split_by_time(times: pl.Series, config: SplitConfig) -> tuple[NDArray[np.int8], TimeCuts]:
    """Return the split of each time, and where the splits begin; the gap after each cut is unused.

    Shares are of the distinct points in time.

    Raises:
        UnlearnableError: there are too few points in time, or a row has none.
    """
    if missing := times.null_count():
        raise UnlearnableError(
            f"column '{times.name}' is missing in {missing} of {len(times)} rows, so they "
            "belong to no split; drop them upstream, or set split.by: hash"
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
    is_validation = (rank >= _find_gap_end(points, first_validation, config.gap)) & (
        rank < first_test
    )
    splits[is_validation] = VALIDATION
    splits[rank >= _find_gap_end(points, first_test, config.gap)] = TEST
    numbers = points.to_physical()
    cuts = TimeCuts(numbers[first_validation], numbers[first_test])
    return splits, cuts


def list_split_columns(config: SplitConfig) -> list[str]:
    """Return the columns that a split reads in addition to inputs, target and time."""
    return [name for name in (config.id, config.group, config.column) if name]


def _check_columns(config: SplitConfig) -> None:
    """Check that the method of the split uses the columns.

    Raises:
        ValueError: it does not, or needs another one.
    """
    if config.group and config.by == "time":
        raise ValueError("group: a split by time has no groups; set by: hash")
    if config.group and config.by == "stratified":
        raise ValueError("group: a group may hold several classes; set by: hash, or remove group")
    if config.id and config.group:
        raise ValueError("id: with a group, the group is hashed and not the id; remove id or group")
    if config.id and config.by == "time":
        raise ValueError("id: a split by time hashes nothing; set by: hash, or remove id")
    if config.column and config.by not in {"auto", "column"}:
        raise ValueError(
            f"column: it gives the split, and by: {config.by} does too; remove one of them"
        )
    if config.by == "column" and not config.column:
        raise ValueError("column: name the column that gives each row's split")


def _find_gap_end(points: pl.Series, cut: int, gap: int | str) -> int:
    """Return the index of the first point in time after the gap that begins at index `cut`.

    A day has 24 hours, also when the clocks change.

    Raises:
        UnlearnableError: the gap is a duration, and the points are numbers.
    """
    if isinstance(gap, int):
        return cut + gap
    seconds = float(str(parse_duration(gap)))
    if isinstance(points.dtype, pl.Date):
        ticks = math.ceil(seconds / 86400)
    elif isinstance(points.dtype, (pl.Datetime, pl.Duration)):
        ticks = round(seconds * _TICKS_PER_SECOND[points.dtype.time_unit])
    elif isinstance(points.dtype, pl.Time):
        ticks = round(seconds * _TICKS_PER_SECOND["ns"])
    else:
        raise UnlearnableError(
            f"split.gap: '{gap}' is a duration, and column '{points.name}' holds "
            f"{points.dtype}, not dates or times; give the gap in points in time, such as gap: 7"
        )
    numbers = points.to_physical().cast(pl.Int64).to_numpy()
    return int(np.searchsorted(numbers, int(numbers[cut]) + ticks))
