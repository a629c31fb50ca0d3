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
from models.features.splitting.duplicates import build_bloom_filter, remove_duplicates
from models.features.splitting.minhash import join_texts, mark_near_duplicates
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import (
    TEST,
    TRAINING,
    UNLABELLED,
    UNUSED,
    VALIDATION,
    SplitConfig,
    choose_split_method,
    list_hashed_columns,
    split_by_hash,
    split_by_time,
)
from models.features.splitting.stratified_split import assign_strata, split_stratified
from models.features.splitting.training_rows import list_content_columns
from models.features.splitting.unseen_rows import SplitRecord, format_column_types
from models.features.target import mark_missing_targets
from tasks.dataset.rowset import RowSet

_Hashes = NDArray[np.uint64]


class RowSplit(NamedTuple):
    """Every row's split, how it was made, and how many rows were removed from the evaluation."""

    splits_R: NDArray[np.int8]
    split: SplitRecord
    duplicates: dict[str, int]


def split_rows(
    rows: RowSet,
    layout: Layout,
    config: SplitConfig,
    *,
    target: TargetConfig,
    keep_unlabelled: bool = False,
) -> RowSplit:
    """Decide the split of every row.

    Args:
        rows: the table.
        layout: its columns.
        config: how rows are divided.
        target: what is predicted.
        keep_unlabelled: whether training rows without a target are kept for pretraining; those of
            validation and test are unused, as are all that are as new as a split by time's.

    Raises:
        UnlearnableError: the data does not allow the configured split.
    """
    inputs = list(list_content_columns(layout))
    columns = list_hashed_columns(config, inputs)
    by = choose_split_method(config, windows=False)
    content_R = (
        _hash_rows(rows, inputs) if config.duplicates == "remove" or columns == inputs else None
    )
    missing_R = np.zeros(rows.scan().select(pl.len()).collect().item(), bool)
    if keep_unlabelled:
        missing_R = mark_missing_targets(_read_column(rows, target.name))
    if by == "time":
        splits_R, split = _split_by_time(rows, layout, config, missing_R=missing_R)
    else:
        hashes_R = (
            content_R if content_R is not None and columns == inputs else _hash_rows(rows, columns)
        )
        splits_R = _assign_splits(rows, hashes_R, config, by=by, target=target)
        fitted_R = (splits_R == TRAINING) | (splits_R == VALIDATION)
        split = SplitRecord(
            config=config,
            by=by,
            columns=tuple(columns),
            types=format_column_types(rows.schema, columns),
            learned=build_bloom_filter(hashes_R[fitted_R]) if by == "column" else None,
        )
    splits_R = np.where(missing_R & (splits_R != TRAINING), np.int8(UNUSED), splits_R)
    duplicates: dict[str, int] = {}
    if content_R is not None and config.duplicates == "remove":
        splits_R, duplicates = _remove_duplicates(content_R, splits_R)
    if config.near_duplicate_threshold is not None:
        splits_R, near_duplicates = _remove_near_duplicates(
            rows, layout, splits_R, threshold=config.near_duplicate_threshold
        )
        duplicates |= near_duplicates
    splits_R = np.where(missing_R & (splits_R == TRAINING), np.int8(UNLABELLED), splits_R)
    return RowSplit(splits_R, split, {kind: count for kind, count in duplicates.items() if count})


def _hash_rows(rows: RowSet, columns: list[str]) -> _Hashes:
    """Hash the content of every row."""
    frames = [hash_frame_rows(frame, columns) for frame in rows.iter_frames(columns)]
    return np.concatenate(frames) if frames else np.empty(0, np.uint64)


def _read_column(rows: RowSet, name: str) -> pl.Series:
    """Read one column of all rows."""
    return rows.scan().select(name).collect().to_series()


def _split_by_time(
    rows: RowSet, layout: Layout, config: SplitConfig, *, missing_R: NDArray[np.bool_]
) -> tuple[NDArray[np.int8], SplitRecord]:
    """Assign the newest rows to the test split; rows without a target move no cut."""
    if layout.time is None:
        raise UnlearnableError(
            "a split by time needs a column of times; set source.time, or split.by: hash"
        )
    times = _read_column(rows, layout.time)
    splits_R = np.full(len(times), UNUSED, np.int8)
    splits_R[~missing_R], cuts = split_by_time(times.filter(pl.Series(~missing_R)), config)
    is_early_R = (times.to_physical() < cuts.validation).fill_null(value=False).to_numpy()
    splits_R[missing_R & is_early_R] = TRAINING
    split = SplitRecord(config=config, by="time", test_from=cuts.test, time_type=str(times.dtype))
    return splits_R, split


def _assign_splits(
    rows: RowSet, hashes_R: _Hashes, config: SplitConfig, *, by: str, target: TargetConfig
) -> NDArray[np.int8]:
    """Assign rows to splits by their hashes, their classes, or a column.

    Raises:
        UnlearnableError: the target has no classes to balance.
    """
    if by == "stratified":
        if target.kind not in {"category", "number"}:
            raise UnlearnableError(
                f"split.by: stratified balances classes, and the target is of kind {target.kind}; "
                "set split.by: hash"
            )
        strata = assign_strata(_read_column(rows, target.name), number=target.kind == "number")
        return split_stratified(hashes_R, strata, config)
    if by == "column" and config.column:
        return split_by_column(_read_column(rows, config.column), hashes_R, config)
    return split_by_hash(hashes_R, config)


def _remove_duplicates(
    content_R: _Hashes, splits_R: NDArray[np.int8]
) -> tuple[NDArray[np.int8], dict[str, int]]:
    """Remove from the evaluation the rows whose content also occurs in training."""
    removed = remove_duplicates(content_R, splits_R)
    counts = asdict(removed.counts)
    counts.pop("conflicting_targets")
    labelled = {}
    for name, count in counts.items():
        split, _, others = name.partition("_")
        labelled[f"{split} rows that are also {others.replace('_', ' ')}"] = count
    return removed.splits_R, labelled


def _remove_near_duplicates(
    rows: RowSet, layout: Layout, splits_R: NDArray[np.int8], *, threshold: float
) -> tuple[NDArray[np.int8], dict[str, int]]:
    """Remove from the evaluation the texts that are near duplicates of those of training.

    Raises:
        UnlearnableError: the input is no text.
    """
    if layout.input.kind != "text":
        raise UnlearnableError(
            "split.near_duplicate_threshold: only texts are compared, and the input is "
            f"{layout.input.kind}; remove it"
        )
    columns = list(layout.input.columns)

    def read_texts() -> Iterable[pl.Series]:
        return (join_texts(frame, columns) for frame in rows.iter_frames(columns))

    near_R = mark_near_duplicates(read_texts, splits_R, threshold) & (splits_R != UNUSED)
    counts = {
        f"{name} rows that are near duplicates of training or validation": int(
            (near_R & (splits_R == code)).sum()
        )
        for name, code in (("validation", VALIDATION), ("test", TEST))
    }
    return np.where(near_R, np.int8(UNUSED), splits_R), counts
