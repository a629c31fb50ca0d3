"""Write down the rows that features let a model learn from, and find out about rows later.

Shapes: R rows that are asked about.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.identity import identities
from models.features.learned import (
    Learned,
    learn_marks,
    marks_of,
    row_columns,
    save_learned,
    were_learned,
)
from models.features.split import TRAINING, VALIDATION
from tasks.rows import RowSet


def write_learned(folder: Path, rows: RowSet, featurizer: Featurizer) -> None:
    """Write down the answers' rows of training and validation, from the listed sequences."""
    marks = marks_of(featurizer.layout, featurizer.split.config)
    listed = pl.scan_parquet(folder / "sequences.parquet", glob=False)
    chosen = listed.filter(pl.col("split").is_in([TRAINING, VALIDATION])).select("answer_row")
    places = chosen.unique().sort("answer_row").collect()["answer_row"].to_numpy()
    frames = (frame for _, frame in picked(rows, marks.needed, places))
    save_learned(learn_marks(frames, rows.schema, marks), folder)


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


def ids_of(rows: RowSet, featurizer: Featurizer, places_R: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Give what tells rows of a table from all others, as 64 bits each, in the order asked."""
    columns = list(row_columns(featurizer.layout, featurizer.split.config))
    ids_R = np.zeros(len(places_R), np.uint64)
    for here, frame in picked(rows, columns, places_R):
        ids_R[here] = identities(frame, columns)
    return ids_R
