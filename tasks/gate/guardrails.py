"""What must not get worse, whatever the gain: slices, calibration, latency, size."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.bundle import Bundle
from models.evaluation.guardrails import (
    GuardrailSlice,
    compute_calibration_error,
    measure_slice_drops,
    slice_by_target,
    slice_by_value,
)
from models.evaluation.metrics.classification import log_loss
from models.evaluation.predictions import Predictions, SinglePredictions
from models.evaluation.statistics.block_length import choose_gain_block
from models.evaluation.statistics.bootstrap import compute_gain_interval
from models.features.featurizer import Featurizer
from models.features.splitting.training_rows import TRAINING_ROWS_FILE
from tasks.dataset.rowset import RowSet
from tasks.gate.comparison import Comparison, GateConfig
from tasks.gate.rules import Guardrail
from tasks.serving.model_package import choose_golden_rows

_TIMED_ROWS = 50
"""Rows that are predicted one by one to measure the latency."""

_WARM_UP_ROWS = 5
"""Predictions before the measurement begins."""


def check_slices(
    comparison: Comparison, slices: Sequence[GuardrailSlice], gate: GateConfig, *, metric: str
) -> list[Guardrail]:
    """Compare challenger and champion on each slice; only a significant drop can fail."""
    if gate.max_slice_drop is None:
        return []
    drops = measure_slice_drops(
        comparison.challenger,
        comparison.reference,
        slices,
        metric=metric,
        confidence=gate.confidence,
        count=gate.bootstrap_samples,
        min_rows=gate.min_slice_rows,
    )
    return [
        Guardrail(
            f"drop of {each.slice} ({each.rows} rows)",
            each.drop,
            gate.max_slice_drop,
            not each.is_significant or each.drop <= gate.max_slice_drop,
        )
        for each in drops
    ]


def slice_rows(
    challenger: Predictions, rows: RowSet, target_rows_R: np.ndarray, featurizer: Featurizer
) -> list[GuardrailSlice]:
    """Divide the compared rows by class or label, and by entity.

    Args:
        challenger: its predictions of R rows, with their targets.
        rows: of the source, for the column of the entity.
        target_rows_R: the row number in the source of each target.
        featurizer: names classes and entity.
    """
    slices, entity = slice_by_target(challenger, featurizer.target.classes), None
    if name := featurizer.layout.entity:
        entity = rows.scan().select(name).collect(engine="streaming").to_series()
    return slices if entity is None else slices + slice_by_value(entity.gather(target_rows_R))


def check_calibration(
    comparison: Comparison, gate: GateConfig, *, by_time: bool
) -> list[Guardrail]:
    """Compare log loss and calibration error of challenger and champion; of categories alone."""
    ours, theirs = comparison.challenger, comparison.reference
    if not (isinstance(ours, SinglePredictions) and isinstance(theirs, SinglePredictions)):
        return []
    if not ours.num_classes:
        return []
    guardrails = []
    if (limit := gate.max_log_loss_increase) is not None:
        gain = compute_gain_interval(
            log_loss,
            ours,
            theirs,
            sign=-1.0,
            confidence=gate.confidence,
            count=gate.bootstrap_samples,
            block=choose_gain_block(log_loss, ours, theirs, by_time=by_time),
            seed=0,
        )
        increase = log_loss(ours) - log_loss(theirs)
        passed = increase <= limit or gain.high >= 0
        guardrails.append(Guardrail("increase of the log loss", increase, limit, passed))
    errors = compute_calibration_error(ours), compute_calibration_error(theirs)
    if (limit := gate.max_ece_increase) is not None and None not in errors:
        increase = (errors[0] or 0.0) - (errors[1] or 0.0)
        name = "increase of the calibration error"
        guardrails.append(Guardrail(name, increase, limit, increase <= limit))
    return guardrails


def check_costs(
    bundle: Bundle, bundle_dir: Path, rows: RowSet, features_dir: Path, *, gate: GateConfig
) -> list[Guardrail]:
    """Measure the latency of a prediction and the size of the model, where the job limits them."""
    guardrails = []
    if (limit := gate.max_latency_ms) is not None:
        value, name = _measure_latency(bundle, rows, features_dir), "latency in ms a row (p95)"
        guardrails.append(Guardrail(name, value, limit, value <= limit))
    if (limit := gate.max_size_mb) is not None:
        files = [
            path
            for path in bundle_dir.rglob("*")
            if path.is_file() and path.name != TRAINING_ROWS_FILE
        ]
        value = sum(path.stat().st_size for path in files) / 1e6
        guardrails.append(Guardrail("size of the model in MB", value, limit, value <= limit))
    return guardrails


def _measure_latency(bundle: Bundle, rows: RowSet, features_dir: Path) -> float:
    """Measure the milliseconds to predict one row alone, at the 95th percentile."""
    frame = choose_golden_rows(bundle, rows, features_dir)
    has_window = bundle.featurizer.layout.window is not None
    times_ms = []
    for turn in range(_WARM_UP_ROWS + _TIMED_ROWS):
        began = time.perf_counter()
        if has_window:
            bundle.predict(frame, np.array([len(frame) - 1]))
        else:
            row = turn % len(frame)
            bundle.predict(frame[row : row + 1])
        times_ms.append(1000 * (time.perf_counter() - began))
    return float(np.quantile(times_ms[_WARM_UP_ROWS:], 0.95))
