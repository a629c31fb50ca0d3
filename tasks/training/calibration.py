"""Calibrate a model on validation rows: temperature, prediction sets and intervals.

Where there are many, one half decides when training stops and the other calibrates, so that
coverage is estimated on rows that did not choose the model; where there are few, the same rows do
both (`is_independent` is then False).
Shapes: S sequences, T steps of a forecast, K classes, O outputs, M target numbers.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.calibration import (
    Calibration,
    compute_nonconformity,
    compute_reference_bounds,
    compute_softmax,
    fit_conformal_quantile,
    fit_probability_threshold,
    fit_temperature,
)
from models.features.featurizer import Featurizer
from models.features.splitting.sequence_hash import hash_sequences
from models.features.splitting.split import VALIDATION
from models.features.static_covariates import StaticCovariates
from models.learning.data_source import Sequences
from models.learning.stream import StreamingSet
from models.prediction_table import reshape_step_outputs
from tasks.dataset.feature_files import read_sequences

MIN_SPLIT_ROWS = 2_000
"""Validation rows from which on a half is used for calibration alone."""


_MAX_VALIDATION_WINDOWS = 5_000
"""Validation windows that are predicted after each epoch."""


class ValidationParts(NamedTuple):
    """Validation rows by their purpose."""

    early_stopping: Sequences
    """Rows that decide when training stops."""
    calibration: Sequences | None = None
    """Rows for calibration alone; None where the same rows do both."""
    rows_S: NDArray[np.int64] | None = None
    """Indices of the `early_stopping` rows; None for all of them."""


def split_validation(validation: Sequences, featurizer: Featurizer) -> ValidationParts:
    """Divide the validation rows into those for early stopping and those for calibration.

    They are not divided where there are few, or where rows depend on each other: windows overlap,
    and members of a group belong together. Of many windows, evenly spread ones decide when
    training stops.
    """
    if featurizer.layout.window is not None and len(validation) > _MAX_VALIDATION_WINDOWS:
        spread = np.linspace(0, len(validation) - 1, _MAX_VALIDATION_WINDOWS)
        rows_S = spread.round().astype(np.int64)
        return ValidationParts(validation.select(rows_S), None, rows_S)
    grouped = featurizer.layout.window is not None or featurizer.split.config.group is not None
    if len(validation) < MIN_SPLIT_ROWS or grouped:
        return ValidationParts(validation)
    # By hash, so that equal sequences are in the same half.
    is_calibration_S = (compute_sequence_hashes(validation) >> np.uint64(32)) % np.uint64(2) == 1
    if not is_calibration_S.any() or is_calibration_S.all():
        return ValidationParts(validation)
    rows_S = np.flatnonzero(~is_calibration_S)
    return ValidationParts(
        validation.select(rows_S), validation.select(np.flatnonzero(is_calibration_S)), rows_S
    )


def compute_sequence_hashes(sequences: Sequences) -> NDArray[np.uint64]:
    """Hash each sequence together with its static covariates."""
    spans = sequences.spans
    if isinstance(sequences, StreamingSet):
        values, statics = sequences.values_NC, sequences.statics
    else:
        values = sequences.values_NC.cpu().numpy()
        statics = StaticCovariates(*(part.cpu().numpy() for part in sequences.statics))
    return hash_sequences(values, spans.starts_S, spans.stops_S, statics)


def calibrate_bundle(
    bundle: Bundle,
    validation: Sequences,
    features_dir: Path,
    *,
    outputs_SO: NDArray[np.float32] | None = None,
    fits_temperature: bool = True,
) -> Bundle:
    """Return the bundle with a calibration, where its kind of target has one.

    Args:
        bundle: the finished model.
        validation: validation rows, all of them or those for calibration alone.
        features_dir: with all validation rows, those of classes unseen in training included.
        outputs_SO: of the model without these rows, where it has learned from them.
        fits_temperature: whether probabilities may change.
    """
    featurizer, kind = bundle.featurizer, bundle.featurizer.target.kind
    if kind not in {"category", "number", "forecast"}:
        return bundle
    table = read_sequences(features_dir, VALIDATION)
    share = min(1.0, len(validation) / max(int(table["known"].sum()), 1))
    unseen = round(share * int((~table["known"]).sum()))
    if outputs_SO is None:
        outputs_SO = bundle.run_network(validation)
    values_M = validation.select_targets(np.arange(len(validation))).values_M.cpu().numpy()
    start = Calibration(
        coverage=bundle.head.interval_coverage,
        rows=len(validation) + unseen,
        is_independent=share < 1,
        exchangeable=featurizer.layout.window is None and featurizer.split.by != "time",
    )
    if kind == "category":
        targets_S = values_M.astype(np.int64)
        temperature = fit_temperature(outputs_SO, targets_S) if fits_temperature else 1.0
        start = replace(start, temperature=temperature)
        return replace(
            bundle, calibration=_calibrate_classes(outputs_SO, targets_S, start, unseen=unseen)
        )
    targets_ST = values_M.reshape(len(validation), -1).astype(np.float64)
    return replace(
        bundle, calibration=_calibrate_intervals(outputs_SO, targets_ST, start, bundle=bundle)
    )


def _calibrate_classes(
    outputs_SK: NDArray[np.float32],
    targets_S: NDArray[np.int64],
    start: Calibration,
    *,
    unseen: int,
) -> Calibration:
    """Fit the probability from which on a class is in the prediction set.

    Rows of unseen classes count as probability 0: no prediction set can contain their class.
    """
    probabilities_SK = compute_softmax(outputs_SK, start.temperature)
    probability_S = np.concatenate(
        [probabilities_SK[np.arange(len(targets_S)), targets_S], np.zeros(unseen)]
    )
    threshold = fit_probability_threshold(probability_S, start.coverage)
    return replace(start, probability_threshold=threshold)


def _calibrate_intervals(
    outputs_SO: NDArray[np.float32],
    targets_ST: NDArray[np.float64],
    start: Calibration,
    *,
    bundle: Bundle,
) -> Calibration:
    """Fit the conformal quantile of each step, by which intervals are widened."""
    target = bundle.featurizer.target
    parts = reshape_step_outputs(outputs_SO, bundle.head)
    bounds = compute_reference_bounds(parts, bundle.head, mean=target.mean, std=target.std)
    errors_ST = compute_nonconformity(targets_ST, bounds)
    quantiles = tuple(fit_conformal_quantile(error_S, start.coverage) for error_S in errors_ST.T)
    return replace(start, conformal_quantiles=quantiles)
