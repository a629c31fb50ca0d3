"""Which row goes into which split, where rows are sequences of their own.

Shapes: R rows of the table.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.splitting.column_split import split_by_column
from models.features.splitting.duplicates import remember, remove_duplicates
from models.features.splitting.minhash import near_rows
from models.features.splitting.row_hash import identities
from models.features.splitting.split import (
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    hashed_columns,
    split_by_hash,
    split_by_time,
    way_of,
)
from models.features.splitting.stratified_split import split_stratified, strata_of
from models.features.splitting.training_rows import content_columns
from models.features.splitting.unseen_rows import Split, types_of
from tasks.dataset.rowset import RowSet

Hashes = NDArray[np.uint64]


class RowPlan(NamedTuple):
    """Every row's split, how it was made, and what was taken out of the evaluation."""

    splits_R: NDArray[np.int8]
    split: Split
    duplicates: dict[str, int]


def plan_rows(
    rows: RowSet, layout: Layout, config: SplitConfig, *, target: TargetConfig
) -> RowPlan:
    """Decide the split of every row.

    Raises:
        UnlearnableError: the data does not allow the split that is asked for.
    """
    inputs = list(content_columns(layout))
    columns = hashed_columns(config, inputs)
    by = way_of(config, windows=False)
    content = (
        hashes_of(rows, inputs) if config.duplicates == "remove" or columns == inputs else None
    )
    if by == "time":
        splits_R, split = by_time(rows, layout, config)
    else:
        hashes_R = (
            content if content is not None and columns == inputs else hashes_of(rows, columns)
        )
        splits_R = placed(rows, hashes_R, config, by=by, target=target)
        learned_R = (splits_R == TRAINING) | (splits_R == VALIDATION)
        split = Split(
            config=config,
            by=by,
            columns=tuple(columns),
            types=types_of(rows.schema, columns),
            learned=remember(hashes_R[learned_R]) if by == "column" else None,
        )
    found: dict[str, int] = {}
    if content is not None and config.duplicates == "remove":
        splits_R, found = without_duplicates(content, splits_R)
    if config.near_duplicate_threshold is not None:
        splits_R, near = without_near(
            rows, layout, splits_R, threshold=config.near_duplicate_threshold
        )
        found |= near
    return RowPlan(splits_R, split, {words: count for words, count in found.items() if count})


def hashes_of(rows: RowSet, columns: list[str]) -> Hashes:
    """Hash the content of every row."""
    frames = [identities(frame, columns) for frame in rows.frames(columns)]
    return np.concatenate(frames) if frames else np.empty(0, np.uint64)


def column_of(rows: RowSet, name: str) -> pl.Series:
    """Read one column of all rows."""
    return rows.scan().select(name).collect().to_series()


def by_time(rows: RowSet, layout: Layout, config: SplitConfig) -> tuple[NDArray[np.int8], Split]:
    """Let the newest rows be the test."""
    if layout.time is None:
        raise UnlearnableError(
            "a split by time needs the column that holds it; set source.time, or split.by: hash"
        )
    times = column_of(rows, layout.time)
    splits_R, cuts = split_by_time(times, config)
    split = Split(config=config, by="time", test_from=cuts.test, time_type=str(times.dtype))
    return splits_R, split


def placed(
    rows: RowSet, hashes_R: Hashes, config: SplitConfig, *, by: str, target: TargetConfig
) -> NDArray[np.int8]:
    """Place rows by their hashes, their classes, or a column."""
    if by == "stratified":
        if target.kind not in {"category", "number"}:
            raise UnlearnableError(
                f"split.by: stratified balances classes, and the target is of kind {target.kind}; "
                "set split.by: hash"
            )
        strata = strata_of(column_of(rows, target.column), number=target.kind == "number")
        return split_stratified(hashes_R, strata, config)
    if by == "column" and config.column:
        return split_by_column(column_of(rows, config.column), hashes_R, config)
    return split_by_hash(hashes_R, config)


def without_duplicates(
    content: Hashes, splits_R: NDArray[np.int8]
) -> tuple[NDArray[np.int8], dict[str, int]]:
    """Take out of the evaluation what stands in training, too."""
    removed = remove_duplicates(content, splits_R)
    found = asdict(removed.found)
    found.pop("contradicting")
    words = {}
    for name, count in found.items():
        who, _, where = name.partition("_")
        words[f"{who} rows that also stand {where.replace('_', ' ')}"] = count
    return removed.splits_R, words


def without_near(
    rows: RowSet, layout: Layout, splits_R: NDArray[np.int8], *, threshold: float
) -> tuple[NDArray[np.int8], dict[str, int]]:
    """Take out of the evaluation the texts that are nearly those of training.

    Raises:
        UnlearnableError: the input is no text.
    """
    if layout.input.kind != "text":
        raise UnlearnableError(
            "split.near_duplicate_threshold: only texts are compared, and the input is "
            f"{layout.input.kind}; remove it"
        )
    column = layout.input.columns[0]

    def texts() -> Iterable[pl.Series]:
        return (frame[column] for frame in rows.frames([column]))

    near_R = near_rows(texts, splits_R, threshold) & (splits_R != UNUSED)
    words = {
        f"{name} rows that are nearly a row of training or validation": int(
            (near_R & (splits_R == code)).sum()
        )
        for name, code in (("validation", VALIDATION), ("test", TEST))
    }
    return np.where(near_R, np.int8(UNUSED), splits_R), words
