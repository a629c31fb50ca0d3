"""Ask the canaries about the sequences of a job.

Shapes: S sequences, F features, T steps of a forecast.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.baselines.single import Rows, describe_steps
from models.evaluation.leakage_checks import (
    SEEN_ROWS,
    Canary,
    aged,
    repeated,
    shuffled,
    told_by_one,
)
from models.features.feature_spec import Numbers
from models.features.featurizer import Featurizer
from models.features.series import read_of
from models.features.splitting.sequence_hash import sequence_hashes
from models.features.splitting.split import TEST, TRAINING
from models.features.static_covariates import Statics
from tasks.dataset.feature_files import map_steps, read_sequences, side_values
from tasks.dataset.labels import ahead, scales_of
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.prediction.naive_forecast import at, past_of


def ask_canaries(rows: RowSet, folder: Path, featurizer: Featurizer) -> list[Canary]:
    """Ask every canary that knows this kind of answer."""
    found = [repeated(*(hashes_of(folder, split) for split in (TRAINING, TEST)))]
    if featurizer.target.kind not in {"category", "number", "forecast"}:
        return found
    training, test = (thinned(rows, folder, featurizer, split) for split in (TRAINING, TEST))
    if len(training.starts_S) < 2 or not len(test.starts_S):
        return found
    classes = len(featurizer.target.classes)
    read = [columns_of(each, featurizer) for each in (training, test)]
    answers = (training.target_S, test.target_S)
    found.append(told_by_one(read[0], read[1], answers, classes=classes))
    found.append(shuffled(training, test, classes=classes))
    window = featurizer.layout.window
    if window is not None and window.horizon > 0 and not classes:
        found.append(aged(training, test, channels=observed_channels(featurizer)))
    return found


def hashes_of(folder: Path, split: int) -> NDArray[np.uint64]:
    """Hash the sequences of a split."""
    table = read_sequences(folder, split)
    starts, stops = table["start"].to_numpy(), table["stop"].to_numpy()
    return sequence_hashes(map_steps(folder), starts, stops, Statics(*side_values(table)))


def thinned(rows: RowSet, folder: Path, featurizer: Featurizer, split: int) -> Rows:
    """Read some sequences of a split, spread evenly, with one answer each.

    Of a series whose own past is known the answer is how far it moves from the last value, which
    no slow series tells by itself.
    """
    table = read_sequences(folder, split, learned=True)
    places = np.linspace(0, len(table) - 1, min(len(table), SEEN_ROWS)).round().astype(np.int64)
    table, layout = table[places], featurizer.layout
    target = featurizer.target
    naive = Baselines(rows, folder, featurizer, season=1)
    if target.kind == "category":
        return naive.of(table)
    if target.kind == "forecast":
        found = naive.sequences(table, ahead(table, folder, featurizer)[:, 0].astype(np.float64))
        known = table_answers(rows, table, target.column)
    else:
        found = naive.of(table)
        known = np.asarray(found.target_S, np.float64)
    if layout.window is not None and layout.window.horizon > 0:
        moved = known - at(past_of(rows, table, featurizer), 0)
        # On the scale of each entity, on which the windows are, too.
        found = found._replace(target_S=moved / scales_of(table, rows, featurizer)[1])
    return found.picked(np.flatnonzero(np.isfinite(np.asarray(found.target_S, np.float64))))


def table_answers(rows: RowSet, table: pl.DataFrame, column: str) -> NDArray[np.float64]:
    """Read the first answers of forecasts as they stand in the source."""
    values = rows.scan().select(column).collect(engine="streaming").to_series()
    told: Any = values.gather(table["answer_row"]).cast(pl.Float64).fill_null(float("nan"))
    return np.asarray(told.to_numpy(), np.float64)


def columns_of(rows: Rows, featurizer: Featurizer) -> dict[str, NDArray[np.float64]]:
    """Read each column by itself: of a series its mean, spread, extremes and last value."""
    found: dict[str, NDArray[np.float64]] = {}
    if isinstance(featurizer.signal, Numbers) and not rows.ids:
        names = list(featurizer.layout.input.columns)
        channels = rows.values_NC.shape[1]
        told = describe_steps(rows, flat_steps=0).reshape(len(rows.starts_S), -1, channels)
        for channel in range(channels):
            name = names[channel] if channel < len(names) else f"channel {channel}"
            found[name] = told[:, :, channel]
    beside = rows.beside_SF
    for place in range(beside.shape[1]):
        found[f"beside {place}"] = beside[:, place : place + 1]
    own = featurizer.target.column
    return {name: values for name, values in found.items() if name != own}


def observed_channels(featurizer: Featurizer) -> list[int]:
    """List the channels that are not known ahead, but for the answer's own past."""
    observed = read_of(featurizer.layout).observed
    own = featurizer.target.column
    return [place for place, name in enumerate(observed) if name != own]
