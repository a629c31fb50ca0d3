"""Rows that a model was not trained on, found later by the record of its split."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.splitting.column_split import parse_split_names
from models.features.splitting.duplicates import query_bloom_filter
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import TEST, SplitConfig, split_by_hash


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRecord:
    """How the rows of a model were split."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    config: SplitConfig
    by: str
    """`hash`, `time`, `stratified` or `column`."""
    columns: tuple[str, ...] = ()
    """The columns that were hashed."""
    types: tuple[str, ...] = ()
    """Their types, as `format_column_types` gives them; empty where they are unknown."""
    test_from: float | None = None
    """The first point in time of the test, as the physical number of its type."""
    time_type: str | None = None
    """The type of the time column; the physical numbers of another type mean other times."""
    learned: NDArray[np.uint8] | None = field(default=None, compare=False)
    """For a split by column, the Bloom filter of the rows of training and validation."""

    @property
    def required_columns(self) -> list[str]:
        """The columns that are needed to find the test rows again."""
        split_columns = [self.config.column] if self.by == "column" and self.config.column else []
        return list(dict.fromkeys([*self.columns, *split_columns]))


def format_column_types(schema: pl.Schema, columns: list[str]) -> tuple[str, ...]:
    """Return the types of columns as text; types whose values give equal JSON have one name."""
    texts = (str(schema[name]) for name in columns)
    unified = (re.sub(r"U?Int\d+", "Int", text) for text in texts)
    return tuple(re.sub(r"Categorical(\(.*?\))?|Enum\(.*?\]\)", "String", text) for text in unified)


def mark_unseen_rows(
    frame: pl.DataFrame, split: SplitRecord, times: pl.Series | None
) -> NDArray[np.bool_]:
    """Return for each row whether this split put it into the test; False where that is unknown.

    A split by hash or stratified needs its settings alone; by time, the time at which the test
    begins, and its type; by column, the rows of training and validation (about a byte each).

    Args:
        frame: the table.
        split: how the model's own rows were split.
        times: the time of each row's target, where the split is by time.

    Raises:
        UnlearnableError: a column has another type than in training.
    """
    if split.by == "time":
        return _mark_unseen_by_time(split, times, len(frame))
    columns = list(split.columns)
    now = format_column_types(frame.schema, columns)
    if split.types and split.types != now:
        raise UnlearnableError(
            f"columns {columns} had types {split.types} in training and have {now} now, so it is "
            "unknown which rows were trained on; write the columns with the former types"
        )
    hashes = hash_frame_rows(frame, columns)
    if split.by in {"hash", "stratified"}:
        return np.asarray(split_by_hash(hashes, split.config) == TEST)
    if split.learned is None or split.config.column is None:
        return np.zeros(len(frame), bool)
    is_test = parse_split_names(frame[split.config.column]).eq_missing(TEST).to_numpy()
    return np.asarray(is_test & ~query_bloom_filter(hashes, split.learned))


def _mark_unseen_by_time(
    split: SplitRecord, times: pl.Series | None, rows: int
) -> NDArray[np.bool_]:
    """Return which rows are from the test period or later.

    Raises:
        UnlearnableError: the time has another type than in training.
    """
    if times is None or split.test_from is None:
        return np.zeros(rows, bool)
    if str(times.dtype) != split.time_type:
        raise UnlearnableError(
            f"the time had type {split.time_type} in training and has {times.dtype} now, so it is "
            "unknown which rows were trained on; write the column with the former type"
        )
    is_later: Any = times.to_physical() >= split.test_from
    return np.asarray(is_later.fill_null(value=False).to_numpy())
