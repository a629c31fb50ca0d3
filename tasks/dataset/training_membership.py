"""Write down the rows that features let a model learn from, and find out about rows later.

Shapes: R rows that are asked about.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.splitting.row_hash import identities
from models.features.splitting.split import TRAINING, VALIDATION
from models.features.splitting.training_rows import (
    FILE,
    Learned,
    learn_marks,
    marks_of,
    row_columns,
    save_learned,
    were_learned,
)
from tasks.dataset.rowset import RowSet


def write_learned(folder: Path, rows: RowSet, featurizer: Featurizer) -> None:
    """Write down the answers' rows of training and validation, from the listed sequences."""
    marks = marks_of(featurizer.layout, featurizer.split.config)
    listed = pl.scan_parquet(folder / "sequences.parquet", glob=False)
    chosen = listed.filter(pl.col("split").is_in([TRAINING, VALIDATION]))
    table = chosen.select("row", "answer_row").collect(engine="streaming")
    places = np.unique(np.concatenate(edges_of(table, featurizer)))
    frames = (frame for _, frame in picked(rows, marks.needed, places))
    save_learned(learn_marks(frames, rows.schema, marks), folder)


def keep_learned(features_dir: Path, bundle_dir: Path) -> None:
    """Let a model carry what it has learned from, so that it is known without the store."""
    shutil.copyfile(features_dir / FILE, bundle_dir / FILE)


def edges_of(table: pl.DataFrame, featurizer: Featurizer) -> list[NDArray[np.int64]]:
    """Give the rows between which sequences have their answers.

    A forecast of several steps is answered by all rows after the one where its window ends.
    Windows overlap, so these rows and those of the last steps hold all rows of a whole split.
    """
    window, names = featurizer.layout.window, ["answer_row"]
    if featurizer.target.kind == "forecast" and window and window.horizon > 1:
        names.append("row")
    return [table[name].to_numpy().astype(np.int64) for name in names]


def picked(
    rows: RowSet, columns: list[str], places_R: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pl.DataFrame]]:
    """Read some rows frame by frame, and tell which of the asked ones each frame has."""
    order = np.argsort(places_R, kind="stable")
    ascending, start = places_R[order], 0
    for frame in rows.frames(columns):
        first, last = np.searchsorted(ascending, [start, start + len(frame)])
        if last > first:
            yield order[first:last], frame[ascending[first:last] - start]
        start += len(frame)


def learned_rows(rows: RowSet, learned: Learned, places_R: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for rows of a table whether a model has learned from them.

    Raises:
        UnlearnableError: a column is written in another type than it was.
    """
    found_R = np.zeros(len(places_R), bool)
    for here, frame in picked(rows, learned.marks.needed, places_R):
        found_R[here] = were_learned(frame, learned)
    return found_R


def learned_any(
    rows: RowSet, learned: Learned, edges: list[NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Tell for sequences whether a model has learned from a row of their answers."""
    found = [learned_rows(rows, learned, places_R) for places_R in edges]
    return np.asarray(np.logical_or.reduce(found))


def ids_of(rows: RowSet, featurizer: Featurizer, places_R: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Give what tells rows of a table from all others, as 64 bits each, in the order asked."""
    columns = list(row_columns(featurizer.layout, featurizer.split.config))
    ids_R = np.zeros(len(places_R), np.uint64)
    for here, frame in picked(rows, columns, places_R):
        ids_R[here] = identities(frame, columns)
    return ids_R
