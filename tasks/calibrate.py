"""Fit on validation rows how sure a model may say it is.

Where there are many, one half decides when training stops and the other calibrates, so that the
promise is not made by rows that chose the model; where there are few, the same rows do both, and
the model says so.
Shapes: S sequences, T steps of a forecast.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.answering import parts_of
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
from models.features.sameness import sequence_hashes
from models.features.split import VALIDATION
from models.features.statics import Statics
from models.learning.batches import SequenceSet
from tasks.features_files import read_sequences

MANY = 2_000
"""Validation rows from which on a half is kept apart."""


def divided(
    validation: SequenceSet, featurizer: Featurizer
) -> tuple[SequenceSet, SequenceSet | None]:
    """Divide validation into what decides when training stops, and what is kept apart.

    Nothing is kept apart where there are few rows, or where rows are like their neighbours:
    windows overlap, and members of a group belong together.
    """
    grouped = featurizer.layout.window is not None or featurizer.split.config.group is not None
    if len(validation) < MANY or grouped:
        return validation, None
    codes, numbers = (values.cpu().numpy() for values in validation.statics)
    places = validation.places
    hashes = sequence_hashes(
        validation.values_NC.cpu().numpy(),
        places.starts_S,
        places.stops_S,
        Statics(codes, numbers),
    )
    # The same sequence stands on one side, however often it occurs.
    aside = (hashes >> np.uint64(32)) % np.uint64(2) == 1
    if not aside.any() or aside.all():
        return validation, None
    return validation.picked(np.flatnonzero(~aside)), validation.picked(np.flatnonzero(aside))


def calibrated(bundle: Bundle, known: SequenceSet, features_dir: Path) -> Bundle:
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
        confidence=bundle.head.confidence,
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
