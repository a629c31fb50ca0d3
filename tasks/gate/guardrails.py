"""What must not get worse, whatever the gain: slices, calibration, latency, size."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.bundle import Bundle
from models.evaluation.guardrails import (
    Slice,
    calibration_error,
    falls,
    slices_by_answer,
    slices_by_name,
)
from models.evaluation.metrics.by_kind import log_loss
from models.evaluation.predictions import Answers, Judged
from models.evaluation.statistics.block_length import block_of_gain
from models.evaluation.statistics.bootstrap import gain_interval
from models.features.featurizer import Featurizer
from models.features.splitting.training_rows import FILE
from tasks.dataset.rowset import RowSet
from tasks.gate.comparison import GateConfig, Rival
from tasks.gate.rules import Guard
from tasks.serving.model_package import golden_frame

TIMED_ROWS = 50
"""Rows that are answered one by one to measure the time."""

WARM_UP = 5
"""Answers before the clock counts."""


def guard_slices(
    rival: Rival, slices: Sequence[Slice], gate: GateConfig, *, metric: str
) -> list[Guard]:
    """Compare challenger and champion slice by slice."""
    if gate.max_slice_drop is None:
        return []
    found = falls(
        rival.challenger,
        rival.answers,
        slices,
        metric=metric,
        confidence=gate.confidence,
        count=gate.bootstrap_samples,
        least=gate.min_slice_rows,
    )
    return [
        Guard(
            f"fall of {each.slice} ({each.rows} rows)",
            each.fall,
            gate.max_slice_drop,
            not each.beyond_doubt or each.fall <= gate.max_slice_drop,
        )
        for each in found
    ]


def slices_of_rows(
    challenger: Judged, rows: RowSet, answers_R: np.ndarray, featurizer: Featurizer
) -> list[Slice]:
    """Cut the compared rows by class or label, and by entity."""
    slices, entity = slices_by_answer(challenger, featurizer.target.classes), None
    if name := featurizer.layout.entity:
        entity = rows.scan().select(name).collect(engine="streaming").to_series()
    return slices if entity is None else slices + slices_by_name(entity.gather(answers_R))


def guard_calibration(rival: Rival, gate: GateConfig, *, by_time: bool) -> list[Guard]:
    """Compare how sure challenger and champion say they are; of categories alone."""
    ours, theirs = rival.challenger, rival.answers
    if not (isinstance(ours, Answers) and isinstance(theirs, Answers) and ours.classes):
        return []
    guards = []
    if (bound := gate.max_log_loss_increase) is not None:
        gain = gain_interval(
            log_loss,
            ours,
            theirs,
            sign=-1.0,
            confidence=gate.confidence,
            count=gate.bootstrap_samples,
            block=block_of_gain(log_loss, ours, theirs, by_time=by_time),
            seed=0,
        )
        rise = log_loss(ours) - log_loss(theirs)
        held = rise <= bound or gain.high >= 0
        guards.append(Guard("rise of the log loss", rise, bound, held))
    errors = calibration_error(ours), calibration_error(theirs)
    if (bound := gate.max_ece_increase) is not None and None not in errors:
        rise = (errors[0] or 0.0) - (errors[1] or 0.0)
        guards.append(Guard("rise of the calibration error", rise, bound, rise <= bound))
    return guards


def guard_costs(
    bundle: Bundle, bundle_dir: Path, rows: RowSet, features_dir: Path, *, gate: GateConfig
) -> list[Guard]:
    """Measure what an answer and the model's files take, where the job asks."""
    guards = []
    if (bound := gate.max_latency_ms) is not None:
        value = latency_ms(bundle, rows, features_dir)
        guards.append(Guard("milliseconds a row (95th percentile)", value, bound, value <= bound))
    if (bound := gate.max_size_mb) is not None:
        files = [path for path in bundle_dir.rglob("*") if path.is_file() and path.name != FILE]
        value = sum(path.stat().st_size for path in files) / 1e6
        guards.append(Guard("megabytes of the model", value, bound, value <= bound))
    return guards


def latency_ms(bundle: Bundle, rows: RowSet, features_dir: Path) -> float:
    """Time answers to one row each, at the 95th percentile."""
    frame = golden_frame(bundle, rows, features_dir)
    windowed = bundle.featurizer.layout.window is not None
    taken = []
    for turn in range(WARM_UP + TIMED_ROWS):
        began = time.perf_counter()
        if windowed:
            bundle.predict(frame, np.array([len(frame) - 1]))
        else:
            place = turn % len(frame)
            bundle.predict(frame[place : place + 1])
        taken.append(1000 * (time.perf_counter() - began))
    return float(np.quantile(taken[WARM_UP:], 0.95))
