"""Scores of slices: parts of the rows on which a model may be better or worse.

Slices of one kind divide the rows: every row is in exactly one (labels excepted). The worst slice
is the one whose interval has the lowest favourable end, so that small slices are not chosen for
their noise.
Shapes: R rows, S rows of a slice, B resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.metrics.additive import (
    AdditiveMetric,
    Floats,
    divide_with_default,
    stack_columns,
)
from models.evaluation.metrics.by_kind import METRICS, get_metric_sign
from models.evaluation.metrics.classification import (
    encode_predictions,
    encode_targets,
    mark_correct,
)
from models.evaluation.predictions import Predictions, SinglePredictions, TagPredictions
from models.evaluation.statistics.block_length import choose_score_block
from models.evaluation.statistics.bootstrap import (
    Interval,
    compute_score_interval,
    compute_score_intervals,
)

_MAX_VALUES = 20
"""Values of a column with a slice of their own; all rarer ones share one."""

_QUANTILE_PARTS = 4
"""Parts into which numbers, times and lengths are divided, with about equal numbers of rows."""

_MIN_ROWS = 20
"""Rows of the smallest slice that can be the worst."""

_MAX_DRAWN_ROWS = 10_000_000
"""Largest number of rows drawn for the intervals of one slice (rows times resamples)."""

_SINGLE_CLASS_METRICS = ("accuracy", "balanced_accuracy", "log_loss", "top_3_accuracy")
"""Metrics that are meaningful on rows of one class; for all others a class has its own F1."""


class Slice(NamedTuple):
    """A part of the rows."""

    by: str
    """Column or property that divides the rows."""
    value: str
    rows_S: NDArray[np.int64]
    """Row indices."""
    code: int | None = None
    """Code of the class or label; None for other slices."""


def slice_by_column(name: str, values: pl.Series) -> list[Slice]:
    """Divide rows by the values of a column; by ranges where it has many ordered values."""
    ordered = values.dtype.is_numeric() or values.dtype.is_temporal()
    if ordered and values.n_unique() > _MAX_VALUES:
        return slice_by_range(name, values)
    texts = values.cast(pl.String, strict=False)
    counts = texts.drop_nulls().value_counts(sort=True).sort("count", texts.name, descending=True)
    frequent = set(counts[texts.name].head(_MAX_VALUES).to_list())
    rows_by_value: dict[str, list[int]] = {}
    for row, text in enumerate(texts.to_list()):
        key = "(missing)" if text is None else text if text in frequent else "(other)"
        rows_by_value.setdefault(key, []).append(row)
    return [Slice(name, key, np.array(rows)) for key, rows in sorted(rows_by_value.items())]


def slice_by_range(name: str, values: pl.Series) -> list[Slice]:
    """Divide rows by quantiles into ranges; equal values stay together."""
    numbers = values.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = np.flatnonzero(np.isfinite(numbers))
    if not len(known):
        return [Slice(name, "(missing)", np.arange(len(values)))]
    edges = np.unique(
        np.quantile(numbers[known], np.arange(1, _QUANTILE_PARTS) / _QUANTILE_PARTS, method="lower")
    )
    part = np.searchsorted(edges, numbers[known], side="left")
    slices = []
    for number in np.unique(part):
        rows = known[part == number]
        low, high = (values[int(rows[at(numbers[rows])])] for at in (np.argmin, np.argmax))
        slices.append(Slice(name, _format_range(low, high), rows))
    missing = np.flatnonzero(~np.isfinite(numbers))
    return [*slices, *([Slice(name, "(missing)", missing)] if len(missing) else [])]


def slice_by_class(predictions: Predictions, classes: Sequence[Any]) -> list[Slice]:
    """Divide rows by target class; of tags, list the rows that have each label."""
    if isinstance(predictions, TagPredictions):
        target_KR = predictions.target_RK.T
        return [
            Slice("label", str(name), np.flatnonzero(target_KR[code]), code)
            for code, name in enumerate(classes)
        ]
    if not isinstance(predictions, SinglePredictions) or not predictions.num_classes:
        return []
    codes_R = encode_targets(predictions)
    names = [*map(str, classes), "(unseen)"]
    return [
        Slice("class", names[code], np.flatnonzero(codes_R == code), int(code))
        for code in np.unique(codes_R)
    ]


def build_class_f1(code: int) -> AdditiveMetric:
    """Build the F1 metric of one class or label, with false positives among all rows."""

    def count_rows(predictions: SinglePredictions | TagPredictions) -> Floats:
        if isinstance(predictions, TagPredictions):
            target_R, predicted_R = (
                predictions.target_RK[:, code],
                predictions.prediction_RK[:, code],
            )
            return stack_columns(target_R & predicted_R, target_R, predicted_R)
        target_R, predicted_R = (
            encode_targets(predictions) == code,
            encode_predictions(predictions) == code,
        )
        return stack_columns(target_R & mark_correct(predictions), target_R, predicted_R)

    def compute_f1(sums_BF: Floats) -> Floats:
        return divide_with_default(2 * sums_BF[:, 0], sums_BF[:, 1] + sums_BF[:, 2], default=np.nan)

    return AdditiveMetric(count_rows, compute_f1)


def score_slices(
    predictions: Predictions,
    slices: Sequence[Slice],
    *,
    metric: str,
    confidence: float,
    count: int,
    by_time: bool,
) -> list[dict[str, Any]]:
    """Score every slice, with the interval of the score.

    Args:
        predictions: of one model.
        slices: of its rows.
        metric: that decides; a class for which it is not meaningful is scored by its F1.
        confidence: of the intervals.
        count: resamples, of which large slices use fewer.
        by_time: whether neighbouring rows are correlated.
    """
    class_metrics = {
        index: build_class_f1(each.code)
        for index, each in enumerate(slices)
        if each.code is not None
        and (isinstance(predictions, TagPredictions) or metric not in _SINGLE_CLASS_METRICS)
    }
    intervals = _compute_joint_intervals(
        predictions, class_metrics, confidence=confidence, count=count, by_time=by_time
    )
    entries = []
    for index, each in enumerate(slices):
        if index in class_metrics:
            value, (low, high) = class_metrics[index](predictions), intervals[index]
        else:
            value, (low, high) = _score_slice(
                predictions.select(each.rows_S),
                metric,
                confidence=confidence,
                count=count,
                by_time=by_time,
            )
        entry = {"by": each.by, "value": each.value, "rows": len(each.rows_S)}
        scores = {"score": value, "low": low, "high": high}
        entries.append(
            entry
            | {name: None if np.isnan(number) else number for name, number in scores.items()}
            | {"metric": "f1" if index in class_metrics else metric}
        )
    return entries


def limit_samples(rows: int, count: int) -> int:
    """Return how many resamples of so many rows are drawn: at least 100, at most `count`."""
    return min(count, max(100, _MAX_DRAWN_ROWS // max(rows, 1)))


def find_worst_slice(
    entries: Sequence[Mapping[str, Any]], *, metric: str, overall: float
) -> dict[str, Any] | None:
    """Find the slice with the lowest favourable end of its interval; of equals, the lowest score.

    Returns:
        Its entry with `is_significant`: whether even the favourable end is worse than the score of
        all rows. None where fewer than two slices have enough rows.
    """
    sign = get_metric_sign(metric)

    def get_favourable_end(entry: Mapping[str, Any]) -> float:
        return float(entry["high"]) if sign > 0 or has_own_metric(entry) else -float(entry["low"])

    def has_own_metric(entry: Mapping[str, Any]) -> bool:
        return bool(entry["metric"] == "f1")

    def get_order(entry: Mapping[str, Any]) -> tuple[float, float]:
        better = 1.0 if sign > 0 or has_own_metric(entry) else -1.0
        return get_favourable_end(entry), better * float(entry["score"])

    known = [
        each
        for each in entries
        if each["rows"] >= _MIN_ROWS and each["low"] is not None and each["score"] is not None
    ]
    if len(known) < 2:
        return None
    worst = min(known, key=get_order)
    significant = (sign > 0 or not has_own_metric(worst)) and get_favourable_end(
        worst
    ) < sign * overall
    return dict(worst) | {"is_significant": bool(significant)}


def reindex_slices(slices: Sequence[Slice], rows_F: NDArray[np.int64], total: int) -> list[Slice]:
    """Convert row indices to those of a selection of the rows; empty slices are left out.

    Args:
        slices: of all rows.
        rows_F: indices of the selected rows.
        total: number of all rows.
    """
    index_R = np.full(total, -1)
    index_R[rows_F] = np.arange(len(rows_F))
    reindexed = [each._replace(rows_S=index_R[each.rows_S]) for each in slices]
    present = [each._replace(rows_S=each.rows_S[each.rows_S >= 0]) for each in reindexed]
    return [each for each in present if len(each.rows_S)]


def _format_range(low: object, high: object) -> str:
    """Format the ends of a range."""
    texts = [f"{end:.6g}" if isinstance(end, float) else str(end) for end in (low, high)]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def _compute_joint_intervals(
    predictions: Predictions,
    metrics: Mapping[int, AdditiveMetric],
    *,
    confidence: float,
    count: int,
    by_time: bool,
) -> dict[int, Interval]:
    """Compute the intervals of several metrics on all rows, from the same resamples."""
    if not metrics:
        return {}
    intervals = compute_score_intervals(
        {str(index): metric for index, metric in metrics.items()},
        predictions,
        confidence=confidence,
        count=limit_samples(len(predictions), count),
        block=choose_score_block(metrics.values(), predictions, by_time=by_time),
        seed=0,
    )
    return {index: intervals[str(index)] for index in metrics}


def _score_slice(
    part: Predictions, metric: str, *, confidence: float, count: int, by_time: bool
) -> tuple[float, Interval]:
    """Score the rows of one slice, with its interval."""
    compute = METRICS[part.kind][metric]
    interval = compute_score_interval(
        compute,
        part,
        confidence=confidence,
        count=limit_samples(len(part), count),
        block=choose_score_block([compute], part, by_time=by_time),
        seed=0,
    )
    return compute(part), interval
