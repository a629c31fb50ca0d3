"""Fit on validation rows how sure a model may say it is.

Where there are many, one half decides when training stops and the other calibrates, so that the
promise is not made by rows that chose the model; where there are few, the same rows do both, and
the model says so.
Shapes: S sequences, T steps of a forecast.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.calibration import (
    Calibration,
    edges_of,
    errors_of,
    fit_least_chance,
    fit_margin,
    fit_temperature,
    softmax,
)
from models.features.featurizer import Featurizer
from models.features.splitting.sequence_hash import sequence_hashes
from models.features.splitting.split import VALIDATION
from models.features.static_covariates import Statics
from models.learning.data_source import Sequences
from models.learning.stream import StreamedSet
from models.prediction_table import parts_of
from tasks.dataset.feature_files import read_sequences

MANY = 2_000
"""Validation rows from which on a half is kept apart."""


class Halves(NamedTuple):
    """Validation rows by what they are for."""

    deciding: Sequences
    """When training stops."""
    apart: Sequences | None = None
    """What calibrates, where it is kept apart."""
    rows_S: NDArray[np.int64] | None = None
    """Which of the validation rows decide; all of them where left out."""


def divided(validation: Sequences, featurizer: Featurizer) -> Halves:
    """Divide validation into what decides when training stops, and what is kept apart.

    Nothing is kept apart where there are few rows, or where rows are like their neighbours:
    windows overlap, and members of a group belong together.
    """
    grouped = featurizer.layout.window is not None or featurizer.split.config.group is not None
    if len(validation) < MANY or grouped:
        return Halves(validation)
    # The same sequence stands on one side, however often it occurs.
    aside = (hashes_of(validation) >> np.uint64(32)) % np.uint64(2) == 1
    if not aside.any() or aside.all():
        return Halves(validation)
    rows_S = np.flatnonzero(~aside)
    return Halves(validation.picked(rows_S), validation.picked(np.flatnonzero(aside)), rows_S)


def hashes_of(sequences: Sequences) -> NDArray[np.uint64]:
    """Hash each sequence with what stands beside it."""
    places = sequences.places
    if isinstance(sequences, StreamedSet):
        values, beside = sequences.values_NC, sequences.statics
    else:
        values = sequences.values_NC.cpu().numpy()
        beside = Statics(*(held.cpu().numpy() for held in sequences.statics))
    return sequence_hashes(values, places.starts_S, places.stops_S, beside)


def calibrated(bundle: Bundle, known: Sequences, features_dir: Path) -> Bundle:
    """Give the bundle what is fitted on validation rows; of kinds that say how sure they are.

    Args:
        bundle: the finished model.
        known: validation rows, all of them or those that were kept apart.
        features_dir: where rows stand whose class training never showed.
    """
    featurizer, kind = bundle.featurizer, bundle.featurizer.target.kind
    if kind not in {"category", "number", "forecast"}:
        return bundle
    table = read_sequences(features_dir, VALIDATION)
    part = len(known) / max(int(table["known"].sum()), 1)
    unseen = round(part * int((~table["known"]).sum()))
    outputs_SO = bundle.run(known)
    values_M = known.answers(np.arange(len(known))).values_M.cpu().numpy()
    start = Calibration(
        confidence=bundle.head.interval_coverage,
        rows=len(known) + unseen,
        apart=part < 1,
        exchangeable=featurizer.layout.window is None and featurizer.split.by != "time",
    )
    if kind == "category":
        truth_S = values_M.astype(np.int64)
        return replace(bundle, calibration=of_classes(outputs_SO, truth_S, start, unseen=unseen))
    truth_ST = values_M.reshape(len(known), -1).astype(np.float64)
    return replace(bundle, calibration=of_numbers(outputs_SO, truth_ST, start, bundle=bundle))


def of_classes(
    outputs_SK: NDArray[np.float32],
    truth_S: NDArray[np.int64],
    start: Calibration,
    *,
    unseen: int,
) -> Calibration:
    """Fit a temperature, and then the probability from which on a class is in a set."""
    temperature = fit_temperature(outputs_SK, truth_S)
    chances_SK = softmax(outputs_SK, temperature)
    chance_S = np.concatenate([chances_SK[np.arange(len(truth_S)), truth_S], np.zeros(unseen)])
    least = fit_least_chance(chance_S, start.confidence)
    return replace(start, temperature=temperature, least_chance=least)


def of_numbers(
    outputs_SO: NDArray[np.float32],
    truth_ST: NDArray[np.float64],
    start: Calibration,
    *,
    bundle: Bundle,
) -> Calibration:
    """Fit the margin of each step."""
    target = bundle.featurizer.target
    parts = parts_of(outputs_SO, bundle.head)
    edges = edges_of(parts, bundle.head, mean=target.mean, spread=target.spread)
    errors_ST = errors_of(truth_ST, edges)
    margins = tuple(fit_margin(error_S, start.confidence) for error_S in errors_ST.T)
    return replace(start, margins=margins)
