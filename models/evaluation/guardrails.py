"""What a better average may hide: parts of the rows that lose, and answers that are too sure.

Shapes: R rows, K classes or labels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.metrics.additive import Metric
from models.evaluation.metrics.by_kind import METRICS, get_metric_sign
from models.evaluation.metrics.calibration import compute_reliability
from models.evaluation.metrics.classification import accuracy
from models.evaluation.predictions import Predictions, SinglePredictions, TagPredictions
from models.evaluation.statistics.bootstrap import Interval, compute_gain_interval

MAX_SLICES = 50
"""Slices that are looked at, the largest ones."""

Places = NDArray[np.int64]


class GuardrailSlice(NamedTuple):
    """Some of the rows."""

    name: str
    rows: Places
    one_class: bool
    """All of one true class, so that the share that is right is all there is to measure."""


class SliceDrop(NamedTuple):
    """How much worse the challenger is on one slice."""

    slice: str
    rows: int
    drop: float
    """Positive where it lost: in points of the metric, of an error as a share of the rival's."""
    gain: Interval
    """Of the gain, in the metric's unit."""

    @property
    def is_significant(self) -> bool:
        """Whether chance alone would hardly show such a loss."""
        return self.gain.high < 0


def slice_by_target(truth: Predictions, classes: tuple[Any, ...]) -> list[GuardrailSlice]:
    """Name the rows of each class, or those that hold each label."""
    if isinstance(truth, SinglePredictions) and truth.classes:
        rows = [np.flatnonzero(truth.target_R == code) for code in range(len(classes))]
        return [
            GuardrailSlice(f"class {name}", r, True) for name, r in zip(classes, rows, strict=True)
        ]
    if isinstance(truth, TagPredictions):
        rows = [np.flatnonzero(truth.target_RK[:, code]) for code in range(len(classes))]
        return [
            GuardrailSlice(f"label {name}", r, False) for name, r in zip(classes, rows, strict=True)
        ]
    return []


def slice_by_value(column: pl.Series) -> list[GuardrailSlice]:
    """Name the rows of each entity."""
    table = pl.DataFrame({"name": column.cast(pl.String), "row": np.arange(len(column))})
    grouped = table.drop_nulls("name").group_by("name", maintain_order=True).agg("row")
    return [
        GuardrailSlice(f"{column.name} {name}", rows.to_numpy().astype(np.int64), False)
        for name, rows in zip(grouped["name"], grouped["row"], strict=True)
    ]


def measure_slice_drops(
    challenger: Predictions,
    rival: Predictions,
    slices: Sequence[GuardrailSlice],
    *,
    metric: str,
    confidence: float,
    count: int,
    least: int,
) -> list[SliceDrop]:
    """Measure how much worse the challenger is than a rival on each slice, the worst first.

    Slices of a class are measured by the share that is right. So many questions are asked that
    one would be answered wrongly by chance, so each interval is wider (Bonferroni).

    Args:
        challenger: its answers.
        rival: the other's, to the same rows.
        slices: rows of each.
        metric: measures all other slices.
        confidence: that no slice of equal models is said to have fallen.
        count: of resamples.
        least: rows below which a slice tells nothing.
    """
    large = [each for each in slices if len(each.rows) >= least]
    chosen = sorted(large, key=lambda each: -len(each.rows))[:MAX_SLICES]
    found = []
    for name, rows, one_class in chosen:
        compute: Metric = accuracy if one_class else METRICS[challenger.kind][metric]
        sign = 1.0 if one_class else get_metric_sign(metric)
        ours, theirs = challenger.select(rows), rival.select(rows)
        gain = compute_gain_interval(
            compute,
            ours,
            theirs,
            sign=sign,
            confidence=1 - (1 - confidence) / len(chosen),
            count=count,
            block=1,
            seed=0,
        )
        fall = compute_drop(compute(ours), compute(theirs), sign=sign)
        found.append(SliceDrop(name, len(rows), fall, gain))
    return sorted(found, key=lambda each: -np.nan_to_num(each.drop, nan=-np.inf))


def compute_drop(ours: float, theirs: float, *, sign: float) -> float:
    """Return a loss in points, and that of an error as a share of the rival's."""
    lost = sign * (theirs - ours)
    if sign > 0 or lost <= 0:
        return lost
    return lost / abs(theirs) if theirs else float("inf")


def compute_calibration_error(answers: SinglePredictions) -> float | None:
    """Measure how far sureness and correctness are apart; None where probabilities are unknown."""
    if answers.probabilities_RK is None:
        return None
    sure_R = np.nan_to_num(answers.probabilities_RK).max(axis=1)
    found: float = compute_reliability(sure_R, answers.target_R == answers.prediction_R)["ece"]
    return found
