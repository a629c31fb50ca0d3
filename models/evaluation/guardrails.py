"""What a better average may hide: slices that get worse, and overconfident probabilities.

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

_MAX_SLICES = 50
"""Largest number of slices that are compared: those with the most rows."""


class GuardrailSlice(NamedTuple):
    """A part of the rows."""

    name: str
    rows: NDArray[np.int64]
    """Row indices."""
    has_one_class: bool
    """Whether all targets are one class, so that accuracy (its recall) is the metric."""


class SliceDrop(NamedTuple):
    """How much worse the challenger is on one slice."""

    slice: str
    rows: int
    drop: float
    """Positive where it is worse: in points of the metric, or as a share of the reference's
    error."""
    gain: Interval
    """Interval of the gain, in the metric's unit."""

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the gain lies below 0."""
        return self.gain.high < 0


def slice_by_target(predictions: Predictions, classes: tuple[Any, ...]) -> list[GuardrailSlice]:
    """Divide the rows by class; of tags, list the rows that have each label."""
    if isinstance(predictions, SinglePredictions) and predictions.num_classes:
        rows = [np.flatnonzero(predictions.target_R == code) for code in range(len(classes))]
        return [
            GuardrailSlice(f"class {name}", r, True) for name, r in zip(classes, rows, strict=True)
        ]
    if isinstance(predictions, TagPredictions):
        rows = [np.flatnonzero(predictions.target_RK[:, code]) for code in range(len(classes))]
        return [
            GuardrailSlice(f"label {name}", r, False) for name, r in zip(classes, rows, strict=True)
        ]
    return []


def slice_by_value(column: pl.Series) -> list[GuardrailSlice]:
    """Divide the rows by the value of a column; null values belong to no slice."""
    table = pl.DataFrame({"name": column.cast(pl.String), "row": np.arange(len(column))})
    grouped = table.drop_nulls("name").group_by("name", maintain_order=True).agg("row")
    return [
        GuardrailSlice(f"{column.name} {name}", rows.to_numpy().astype(np.int64), False)
        for name, rows in zip(grouped["name"], grouped["row"], strict=True)
    ]


def measure_slice_drops(
    challenger: Predictions,
    reference: Predictions,
    slices: Sequence[GuardrailSlice],
    *,
    metric: str,
    confidence: float,
    count: int,
    min_rows: int,
) -> list[SliceDrop]:
    """Measure how much worse the challenger is than the reference on each slice, the worst first.

    Slices of one class are compared by accuracy. The confidence of each interval is raised to
    1 - (1 - confidence) / slices (Bonferroni), so that `confidence` holds for all of them together.

    Args:
        challenger: its predictions.
        reference: the other model's predictions of the same rows.
        slices: rows of each.
        metric: of all other slices.
        confidence: that no slice of two equal models shows a significant drop.
        count: of resamples.
        min_rows: slices with fewer rows are left out.
    """
    large = [each for each in slices if len(each.rows) >= min_rows]
    chosen = sorted(large, key=lambda each: -len(each.rows))[:_MAX_SLICES]
    drops = []
    for name, rows, one_class in chosen:
        compute: Metric = accuracy if one_class else METRICS[challenger.kind][metric]
        sign = 1.0 if one_class else get_metric_sign(metric)
        challenger_part, reference_part = challenger.select(rows), reference.select(rows)
        gain = compute_gain_interval(
            compute,
            challenger_part,
            reference_part,
            sign=sign,
            confidence=1 - (1 - confidence) / len(chosen),
            count=count,
            block=1,
            seed=0,
        )
        drop = compute_drop(compute(challenger_part), compute(reference_part), sign=sign)
        drops.append(SliceDrop(name, len(rows), drop, gain))
    return sorted(drops, key=lambda each: -np.nan_to_num(each.drop, nan=-np.inf))


def compute_drop(challenger: float, reference: float, *, sign: float) -> float:
    """Return the drop in points of the metric, or as a share of the reference's error."""
    drop = sign * (reference - challenger)
    if sign > 0 or drop <= 0:
        return drop
    return drop / abs(reference) if reference else float("inf")


def compute_calibration_error(predictions: SinglePredictions) -> float | None:
    """Compute the expected calibration error; None where probabilities are unknown."""
    if predictions.probabilities_RK is None:
        return None
    confidence_R = np.nan_to_num(predictions.probabilities_RK).max(axis=1)
    error: float = compute_reliability(
        confidence_R, predictions.target_R == predictions.prediction_R
    )["ece"]
    return error
