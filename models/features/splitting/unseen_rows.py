"""Which rows a model has never learned from, told later from what its split wrote down."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.splitting.column_split import codes_of
from models.features.splitting.duplicates import stand_among
from models.features.splitting.row_hash import identities
from models.features.splitting.split import TEST, SplitConfig, split_by_hash


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How the rows that a model learned from were set apart."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    config: SplitConfig
    by: str
    """`hash`, `time`, `stratified` or `column`."""
    columns: tuple[str, ...] = ()
    """Columns that were hashed."""
    types: tuple[str, ...] = ()
    """Their types, as `types_of` names them; empty where nobody wrote them down."""
    test_from: float | None = None
    """The first point in time that was kept for the test, as the number behind its type."""
    time_type: str | None = None
    """The type of the time column; another type's numbers mean other times."""
    learned: NDArray[np.uint8] | None = field(default=None, compare=False)
    """By column: `duplicates.remember` of the rows of training and validation."""

    @property
    def needed(self) -> list[str]:
        """The columns by which a row that was kept for the test is known again."""
        told = [self.config.column] if self.by == "column" and self.config.column else []
        return list(dict.fromkeys([*self.columns, *told]))


def types_of(schema: pl.Schema, columns: list[str]) -> tuple[str, ...]:
    """Name the types of columns; types whose values are written alike have one name."""
    texts = (str(schema[name]) for name in columns)
    whole = (re.sub(r"U?Int\d+", "Int", text) for text in texts)
    return tuple(re.sub(r"Categorical(\(.*?\))?|Enum\(.*?\]\)", "String", text) for text in whole)


def mark_unseen_rows(
    frame: pl.DataFrame, split: Split, times: pl.Series | None
) -> NDArray[np.bool_]:
    """Tell for each row whether this split kept it for the test; what is unsure, it did not.

    By hash and stratified, nothing but the settings is needed; by time, where the test began and
    in which type; by column, what was learned from (about a byte a row).

    Args:
        frame: the table.
        split: how the model's own rows were set apart.
        times: the point in time of each row's answer, where the split is by time.

    Raises:
        UnlearnableError: a column is written in another type than it was.
    """
    if split.by == "time":
        return kept_by_time(split, times, len(frame))
    columns = list(split.columns)
    now = types_of(frame.schema, columns)
    if split.types and split.types != now:
        raise UnlearnableError(
            f"columns {columns} were of types {split.types} and are {now} now, so nobody can tell "
            "which rows were learned from"
        )
    hashes = identities(frame, columns)
    if split.by in {"hash", "stratified"}:
        return np.asarray(split_by_hash(hashes, split.config) == TEST)
    if split.learned is None or split.config.column is None:
        return np.zeros(len(frame), bool)
    says = codes_of(frame[split.config.column]).eq_missing(TEST).to_numpy()
    return np.asarray(says & ~stand_among(hashes, split.learned))


def kept_by_time(split: Split, times: pl.Series | None, rows: int) -> NDArray[np.bool_]:
    """Return which rows are from the test period or later."""
    if times is None or split.test_from is None:
        return np.zeros(rows, bool)
    if str(times.dtype) != split.time_type:
        raise UnlearnableError(
            f"time was of type {split.time_type} and is {times.dtype} now, so nobody can "
            "tell which rows were learned from"
        )
    later: Any = times.to_physical() >= split.test_from
    return np.asarray(later.fill_null(value=False).to_numpy())
