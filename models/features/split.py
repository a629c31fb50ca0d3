"""Which rows train, which validate, which test: decided once and kept as the data grows.

By hash, a row's split depends on its own content (or its group's name) alone, so a new row never
moves an old one, and equal rows never stand on two sides. By time, the newest part is the test,
and a gap keeps neighbours apart.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.units import Share

TRAINING, VALIDATION, TEST, UNUSED = 0, 1, 2, 3

NAMES = ("training", "validation", "test", "unused")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """How rows are divided into training, validation and test."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    by: Literal["auto", "hash", "time"] = "auto"
    """`hash` of the row's content or of `group`; `time`: the newest rows are the test.
    `auto`: by time for windows of a series, else by hash."""
    test: Share = 0.2
    """Share of the rows (by hash) or of the points in time (by time) that is never learned from."""
    validation: Share = 0.1
    """Share that decides when to stop."""
    group: str | None = None
    """Column whose equal values stay together, such as a patient or an author. Needs `hash`."""
    gap: int = 1
    """Points in time that are left unused after each cut. Needs `time`."""

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to learn from."""
        for name, share in (("test", self.test), ("validation", self.validation)):
            if not 0 < share < 1:
                raise ValueError(f"{name}: {share} is not between 0 and 1")
        if self.test + self.validation >= 1:
            raise ValueError(
                f"test: {self.test} and validation: {self.validation} leave nothing for training"
            )
        if self.gap < 0:
            raise ValueError(f"gap: {self.gap} is negative; give 0 or more points in time")
        if self.group and self.by == "time":
            raise ValueError("group: a split by time has no groups; set by: hash")


class TimeCuts(NamedTuple):
    """The points in time where validation and test begin, as the numbers behind their type."""

    validation: float
    test: float


def identities(frame: pl.DataFrame, columns: list[str]) -> NDArray[np.uint64]:
    """Hash each row's content in `columns` to 64 bits, the same for ever and everywhere.

    BLAKE2b (RFC 7693) over the row as JSON, bytes as hexadecimal digits.
    """
    binary = [name for name in columns if frame.schema[name] == pl.Binary]
    texts = frame.select(
        pl.struct(
            pl.col(name).bin.encode("hex") if name in binary else pl.col(name) for name in columns
        ).struct.json_encode()
    ).to_series()
    return np.fromiter(
        (
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
            for text in texts
        ),
        np.uint64,
        len(texts),
    )


def split_by_hash(hashes: NDArray[np.uint64], config: SplitConfig) -> NDArray[np.int8]:
    """Place each hash by its position between 0 and 1: test first, then validation."""
    position = hashes.astype(np.float64) / 2.0**64
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
    splits[(rank >= first_validation + config.gap) & (rank < first_test)] = VALIDATION
    splits[rank >= first_test + config.gap] = TEST
    numbers = points.to_physical()
    cuts = TimeCuts(numbers[first_validation], numbers[first_test])
    return splits, cuts
