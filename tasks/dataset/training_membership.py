"""Record the rows of training and validation, and check later whether a row was among them.

Shapes: R rows to check.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import TRAINING, VALIDATION
from models.features.splitting.training_rows import (
    TRAINING_ROWS_FILE,
    TrainingRows,
    build_row_keys,
    hash_training_rows,
    list_key_columns,
    match_training_rows,
    save_training_rows,
)
from tasks.dataset.rowset import RowSet


def write_training_rows(folder: Path, rows: RowSet, featurizer: Featurizer) -> None:
    """Record the rows with the targets of training and validation in a features artifact."""
    marks = build_row_keys(featurizer.layout, featurizer.split.config)
    sequences = pl.scan_parquet(folder / "sequences.parquet", glob=False)
    chosen = sequences.filter(pl.col("split").is_in([TRAINING, VALIDATION]))
    table = chosen.select("row", "target_row").collect(engine="streaming")
    numbers = np.unique(np.concatenate(list_target_rows(table, featurizer)))
    frames = (frame for _, frame in _select_rows(rows, marks.required_columns, numbers))
    save_training_rows(hash_training_rows(frames, rows.schema, marks), folder)


def copy_training_rows(features_dir: Path, bundle_dir: Path) -> None:
    """Copy the record of the training rows into a model, so that checks need no store."""
    shutil.copyfile(features_dir / TRAINING_ROWS_FILE, bundle_dir / TRAINING_ROWS_FILE)


def list_target_rows(table: pl.DataFrame, featurizer: Featurizer) -> list[NDArray[np.int64]]:
    """List the rows that bound the targets of sequences, by their numbers.

    The targets of a forecast of several steps are all rows after its window's last row. Windows
    overlap, so that the windows' last rows and their last targets cover all rows of a split.

    Returns:
        One or two arrays, [R] each.
    """
    window, names = featurizer.layout.window, ["target_row"]
    if featurizer.target.kind == "forecast" and window and window.horizon > 1:
        names.append("row")
    return [table[name].to_numpy().astype(np.int64) for name in names]


def mark_training_rows(
    rows: RowSet, training_rows: TrainingRows, numbers_R: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the rows that a model was trained or validated on, [R].

    Raises:
        UnlearnableError: a column has another type than it had in training.
    """
    marked_R = np.zeros(len(numbers_R), bool)
    for indices, frame in _select_rows(rows, training_rows.keys.required_columns, numbers_R):
        marked_R[indices] = match_training_rows(frame, training_rows)
    return marked_R


def mark_training_sequences(
    rows: RowSet, training_rows: TrainingRows, target_rows: list[NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Mark the sequences of which a target row was in training or validation, [R].

    Args:
        rows: the table.
        training_rows: the record of a model.
        target_rows: see `list_target_rows`.
    """
    marked = [mark_training_rows(rows, training_rows, numbers_R) for numbers_R in target_rows]
    return np.asarray(np.logical_or.reduce(marked))


def hash_rows(
    rows: RowSet, featurizer: Featurizer, numbers_R: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Hash the columns that identify a row, [R] in the order of `numbers_R`."""
    columns = list(list_key_columns(featurizer.layout, featurizer.split.config))
    hashes_R = np.zeros(len(numbers_R), np.uint64)
    for indices, frame in _select_rows(rows, columns, numbers_R):
        hashes_R[indices] = hash_frame_rows(frame, columns)
    return hashes_R


def _select_rows(
    rows: RowSet, columns: list[str], numbers_R: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pl.DataFrame]]:
    """Read some rows frame by frame, each with the indices of its rows in `numbers_R`."""
    order = np.argsort(numbers_R, kind="stable")
    ascending, start = numbers_R[order], 0
    for frame in rows.iter_frames(columns):
        first, last = np.searchsorted(ascending, [start, start + len(frame)])
        if last > first:
            yield order[first:last], frame[ascending[first:last] - start]
        start += len(frame)
