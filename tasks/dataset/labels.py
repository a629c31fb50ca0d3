"""Load the rows that a model is evaluated on, with their targets.

Shapes: R rows, K labels, T numbers of a forecast (its steps, of several columns by step and then by
column), M encoded numbers of all targets.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST
from models.features.target import Target, read_numbers
from tasks.dataset.feature_files import map_targets, read_sequences
from tasks.dataset.rowset import RowSet


class TestRows(NamedTuple):
    """The rows of a split that a model is evaluated on."""

    rows_R: NDArray[np.int64]
    """Row numbers; of windows, those of their last rows."""
    target_rows_R: NDArray[np.int64]
    """Row numbers of their (first) targets."""
    targets: Any
    """See `load_targets`."""
    times: pl.Series | None
    """Time of each target, where the source has a time column."""


def load_test_rows(
    rows: RowSet, features_dir: Path, featurizer: Featurizer, *, split: int = TEST
) -> TestRows:
    """Load the rows of a split and their targets."""
    table = read_sequences(features_dir, split)
    time = featurizer.layout.time
    times = rows.scan().select(time).collect().to_series() if time else None
    return TestRows(
        rows_R=table["row"].to_numpy(),
        target_rows_R=table["target_row"].to_numpy(),
        targets=load_targets(table, features_dir, rows, featurizer),
        times=None if times is None else times.gather(table["target_row"]),
    )


def load_targets(
    table: pl.DataFrame, features_dir: Path, rows: RowSet, featurizer: Featurizer
) -> Any:  # noqa: ANN401 - by the kind of the target
    """Return the targets of these sequences.

    Returns:
        By the kind of the target. Category: class codes, [R], -1 for a class that does not occur
        in training. Number: in the target's unit, [R]. Tags: see `encode_tags`. Text: a column.
        Forecast: in the target's unit, [R, T]. Self-supervised kinds: zeros, [R].
    """
    target = featurizer.target
    if target.kind == "category":
        return map_targets(features_dir)[table["target_start"].to_numpy()].astype(np.float64)
    if target.kind == "number":
        return read_numbers(table["target"])
    if target.kind == "tags":
        return encode_tags(table["target"], target)
    if target.kind == "text":
        return table["target"].cast(pl.String)
    if target.kind == "forecast":
        means_RT, stds_RT = find_step_scales(table, rows, featurizer)
        scaled_RT = read_scaled_targets(table, features_dir, featurizer).astype(np.float64)
        return target.from_units(scaled_RT * stds_RT + means_RT)
    return np.zeros(len(table))


def encode_tags(lists: pl.Series, target: Target) -> NDArray[np.bool_]:
    """Encode lists of labels as indicators, [R, K + 1].

    The last column stands for any label that does not occur in training.
    """
    codes_M, lengths_R = target.encode_lists(lists)
    labels_RK = np.zeros((len(lists), len(target.classes) + 1), bool)
    # The code of an unseen label, -1, is the last column.
    labels_RK[np.repeat(np.arange(len(lists)), lengths_R), codes_M.astype(np.int64)] = True
    return labels_RK


def read_scaled_targets(
    table: pl.DataFrame, features_dir: Path, featurizer: Featurizer
) -> NDArray[np.float32]:
    """Return the targets of forecasts as the network sees them, scaled, [R, T]."""
    window = featurizer.layout.window
    assert window is not None  # noqa: S101 - forecasts come from windows
    numbers = window.horizon * len(featurizer.target.list_parts())
    indices_RT = table["target_start"].to_numpy()[:, None] + np.arange(numbers)
    return map_targets(features_dir)[indices_RT]


def find_target_scales(
    table: pl.DataFrame, rows: RowSet, featurizer: Featurizer
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and standard deviation that scaled the targets of each sequence, [R] each."""
    entities = read_scaled_entities(rows, table, featurizer)
    return featurizer.target.get_scales(len(table), entities)


def find_step_scales(
    table: pl.DataFrame, rows: RowSet, featurizer: Featurizer
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the same for the numbers of forecasts, [R, 1] or [R, T]; see `get_step_scales`."""
    window = featurizer.layout.window
    assert window is not None  # noqa: S101 - forecasts come from windows
    entities = read_scaled_entities(rows, table, featurizer)
    return featurizer.target.get_step_scales(len(table), entities, window.horizon)


def read_scaled_entities(
    rows: RowSet, table: pl.DataFrame, featurizer: Featurizer
) -> pl.Series | None:
    """Read the entity of each sequence, where the target is scaled by it; else None."""
    entity = featurizer.layout.entity
    if not featurizer.target.is_scaled_per_entity or entity is None:
        return None
    return rows.scan().select(entity).collect().to_series().gather(table["row"])
