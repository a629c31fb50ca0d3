"""Run the leakage checks on the sequences of a job.

Shapes: S sequences, F features, T steps of a forecast.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.baselines.features import SplitRows, compute_step_features
from models.evaluation.leakage_checks import (
    MAX_ROWS,
    LeakageCheck,
    check_future_columns,
    check_repeated_rows,
    check_shuffled_targets,
    check_single_columns,
)
from models.features.feature_spec import Numbers
from models.features.featurizer import Featurizer
from models.features.series import SeriesState, get_series_input, list_channels
from models.features.splitting.sequence_hash import hash_sequences
from models.features.splitting.split import TEST, TRAINING
from models.features.static_covariates import StaticCovariates
from tasks.dataset.feature_files import map_steps, read_sequences, read_static_covariates
from tasks.dataset.labels import find_target_scales
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.prediction.naive_forecast import load_target_history, read_targets_at


def run_leakage_checks(rows: RowSet, folder: Path, featurizer: Featurizer) -> list[LeakageCheck]:
    """Run every check that fits this kind of target; the network takes no part in them.

    Of several columns the worst result of each check is returned, with the column's name.
    """
    found = [check_repeated_rows(*(_hash_split(folder, split) for split in (TRAINING, TEST)))]
    if featurizer.target.kind not in {"category", "number", "forecast"}:
        return found
    columns = featurizer.list_by_column()
    checks = [_check_targets(rows, folder, each) for each in columns]
    if len(columns) == 1:
        return [*found, *checks[0]]
    named = [
        [check._replace(message=f"{each.target.column}: {check.message}") for check in own]
        for each, own in zip(columns, checks, strict=True)
    ]
    by_check = zip(*(own for own in named if own), strict=True)
    return [*found, *(max(same, key=_rank_check) for same in by_check)]


def _rank_check(check: LeakageCheck) -> tuple[int, float]:
    """Return the order of a check among those of other columns, the worst last."""
    value = -math.inf if check.value is None else check.value
    return ("passed", "warning", "failed").index(check.status), value


def _check_targets(rows: RowSet, folder: Path, featurizer: Featurizer) -> list[LeakageCheck]:
    """Run the checks of one column with targets."""
    found: list[LeakageCheck] = []
    training, test = (_sample_rows(rows, folder, featurizer, split) for split in (TRAINING, TEST))
    if len(training.starts_S) < 2 or not len(test.starts_S):
        return found
    num_classes = len(featurizer.target.classes)
    read = [_compute_column_features(each, featurizer) for each in (training, test)]
    targets = (training.target_S, test.target_S)
    found.append(check_single_columns(read[0], read[1], targets, num_classes=num_classes))
    found.append(check_shuffled_targets(training, test, num_classes=num_classes))
    window = featurizer.layout.window
    if window is not None and window.horizon > 0 and not num_classes:
        found.append(
            check_future_columns(training, test, channels=_list_observed_channels(featurizer))
        )
    return found


def _hash_split(folder: Path, split: int) -> NDArray[np.uint64]:
    """Hash the sequences of a split."""
    table = read_sequences(folder, split)
    starts, stops = table["start"].to_numpy(), table["stop"].to_numpy()
    return hash_sequences(
        map_steps(folder), starts, stops, StaticCovariates(*read_static_covariates(table))
    )


def _sample_rows(rows: RowSet, folder: Path, featurizer: Featurizer, split: int) -> SplitRows:
    """Read some sequences of a split, spread evenly, with one target each.

    For a series with its own past as input the target is the change from the last value, since the
    last value alone explains the next one of any slow series.
    """
    table = read_sequences(folder, split, known_only=True)
    indexes = np.linspace(0, len(table) - 1, min(len(table), MAX_ROWS)).round().astype(np.int64)
    table, layout = table[indexes], featurizer.layout
    target = featurizer.target
    naive = Baselines(rows, folder, featurizer, season=1)
    if target.kind == "category":
        return naive.load_rows(table)
    if target.kind == "forecast":
        known = _read_first_targets(rows, table, target.column)
        found = naive.build_rows(table, known)
    else:
        found = naive.load_rows(table)
        known = np.asarray(found.target_S, np.float64)
    if layout.window is not None and layout.window.horizon > 0:
        last = read_targets_at(load_target_history(rows, table, featurizer), 0)
        change = target.to_units(known) - target.to_units(last)
        # On the scale of each entity, as the windows are.
        found = found._replace(target_S=change / find_target_scales(table, rows, featurizer)[1])
    return found.select(np.flatnonzero(np.isfinite(np.asarray(found.target_S, np.float64))))


def _read_first_targets(rows: RowSet, table: pl.DataFrame, column: str) -> NDArray[np.float64]:
    """Read the first step of each forecast's targets, as the source has it."""
    values = rows.scan().select(column).collect(engine="streaming").to_series()
    numbers: Any = values.gather(table["target_row"]).cast(pl.Float64).fill_null(float("nan"))
    return np.asarray(numbers.to_numpy(), np.float64)


def _compute_column_features(
    rows: SplitRows, featurizer: Featurizer
) -> dict[str, NDArray[np.float64]]:
    """Compute features [S, F] of each column alone: mean, spread, extremes, last value."""
    found: dict[str, NDArray[np.float64]] = {}
    if isinstance(featurizer.feature_spec, Numbers) and not rows.vocab_size:
        columns = _list_channel_columns(featurizer, channels := rows.values_NC.shape[1])
        features = compute_step_features(rows, flat_steps=0).reshape(
            len(rows.starts_S), -1, channels
        )
        for name in dict.fromkeys(columns):
            own_channels = [index for index, column in enumerate(columns) if column == name]
            found[name] = features[:, :, own_channels].reshape(len(features), -1)
    static_SF = rows.static_features_SF
    for index in range(static_SF.shape[1]):
        found[f"static covariate {index}"] = static_SF[:, index : index + 1]
    own = featurizer.target.column
    return {name: values for name, values in found.items() if name != own}


def _list_channel_columns(featurizer: Featurizer, channels: int) -> list[str]:
    """List the column of each channel; a sound has numbered bands."""
    if isinstance(featurizer.state, SeriesState):
        listed = list_channels(featurizer.layout, featurizer.state)
        return [channel.column for channel in listed]
    return [f"channel {index}" for index in range(channels)]


def _list_observed_channels(featurizer: Featurizer) -> list[int]:
    """List the channels that are not known ahead, except the target's own past."""
    observed = get_series_input(featurizer.layout).observed
    own = featurizer.target.column
    return [index for index, name in enumerate(observed) if name != own]
