"""The rows that a model is judged on, and what would be right.

Shapes: R rows, K labels, T steps of a forecast, M numbers of all answers.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST
from models.features.target import Target, to_numbers
from tasks.dataset.feature_files import map_answers, read_sequences
from tasks.dataset.rowset import RowSet


class TestRows(NamedTuple):
    """The rows that a model is judged on."""

    rows_R: NDArray[np.int64]
    """Their places in the snapshot."""
    answers_R: NDArray[np.int64]
    """The places of their (first) answers."""
    truth: Any
    """What `truth_of` says."""
    times: pl.Series | None
    """The time of each answer, where the source has one."""


def load_test(
    rows: RowSet, features_dir: Path, featurizer: Featurizer, *, split: int = TEST
) -> TestRows:
    """Load the test rows, or those of another split, and their answers."""
    table = read_sequences(features_dir, split)
    time = featurizer.layout.time
    times = rows.scan().select(time).collect().to_series() if time else None
    return TestRows(
        rows_R=table["row"].to_numpy(),
        answers_R=table["answer_row"].to_numpy(),
        truth=truth_of(table, features_dir, rows, featurizer),
        times=None if times is None else times.gather(table["answer_row"]),
    )


def truth_of(table: pl.DataFrame, features_dir: Path, rows: RowSet, featurizer: Featurizer) -> Any:  # noqa: ANN401 - by the kind
    """Give the answers of these sequences.

    Returns:
        codes of classes, or numbers in the target's unit, [R]; of tags whether each label holds,
        [R, K + 1], the last column for those that training never showed; of forecasts numbers,
        [R, T]; texts as a column; of what is mined zeros, [R].
    """
    target = featurizer.target
    if target.kind == "category":
        return map_answers(features_dir)[table["answer_start"].to_numpy()].astype(np.float64)
    if target.kind == "number":
        return to_numbers(table["answer"])
    if target.kind == "tags":
        return held_labels(table["answer"], target)
    if target.kind == "text":
        return table["answer"].cast(pl.String)
    if target.kind == "forecast":
        means_R, spreads_R = scales_of(table, rows, featurizer)
        scaled_RT = ahead(table, features_dir, featurizer).astype(np.float64)
        return scaled_RT * spreads_R[:, None] + means_R[:, None]
    return np.zeros(len(table))


def held_labels(lists: pl.Series, target: Target) -> NDArray[np.bool_]:
    """Mark the labels of each row, [R, K + 1]; the last is any that training never showed."""
    codes_M, lengths_R = target.encode_lists(lists)
    held_RK = np.zeros((len(lists), len(target.classes) + 1), bool)
    # The code of what is unseen, -1, is the last column.
    held_RK[np.repeat(np.arange(len(lists)), lengths_R), codes_M.astype(np.int64)] = True
    return held_RK


def ahead(table: pl.DataFrame, features_dir: Path, featurizer: Featurizer) -> NDArray[np.float32]:
    """Give the scaled answers of forecasts, [R, T]."""
    window = featurizer.layout.window
    assert window is not None  # noqa: S101 - forecasts come from windows
    places_RT = table["answer_start"].to_numpy()[:, None] + np.arange(window.horizon)
    return map_answers(features_dir)[places_RT]


def scales_of(
    table: pl.DataFrame, rows: RowSet, featurizer: Featurizer
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find how the answers of these sequences were scaled: mean and spread of each."""
    target, entity = featurizer.target, featurizer.layout.entity
    if not target.entities or entity is None:
        return target.scales(len(table), None)
    names = rows.scan().select(entity).collect().to_series()
    return target.scales(len(table), names.gather(table["row"]))
