"""Where a model is good and where it is not: parts of the rows, each with its own score.

Slices of one kind divide the rows: every row is in exactly one. The worst is the one whose interval
ends lowest on its favourable side, so that no small slice is blamed for its noise.
Shapes: R rows, S rows of a slice, B resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.metrics.additive import AdditiveMetric, Floats, divide_or, stack_columns
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

MAX_VALUES = 20
"""Values of a column that are slices of their own; the rarer ones are one together."""

QUANTILE_PARTS = 4
"""Into which numbers, times and lengths are cut, with as many rows each."""

MIN_ROWS = 20
"""Rows of the smallest slice that can be the worst."""

BUDGET = 10_000_000
"""Rows that are drawn for the intervals of one slice."""

ROW_METRICS = ("accuracy", "balanced_accuracy", "log_loss", "top_3_accuracy")
"""Metrics that say something about rows of one class; for the others a class has its own F1."""


class Slice(NamedTuple):
    """Some of the rows."""

    by: str
    value: str
    rows_S: NDArray[np.int64]
    code: int | None = None
    """Of the class or label, where it is one's."""


def slice_by_column(name: str, values: pl.Series) -> list[Slice]:
    """Divide rows by what a column says: by value, or where there are many, from-to."""
    ordered = values.dtype.is_numeric() or values.dtype.is_temporal()
    if ordered and values.n_unique() > MAX_VALUES:
        return slice_by_range(name, values)
    texts = values.cast(pl.String, strict=False)
    counts = texts.drop_nulls().value_counts(sort=True).sort("count", texts.name, descending=True)
    own = set(counts[texts.name].head(MAX_VALUES).to_list())
    place_of: dict[str, list[int]] = {}
    for row, text in enumerate(texts.to_list()):
        key = "(missing)" if text is None else text if text in own else "(other)"
        place_of.setdefault(key, []).append(row)
    return [Slice(name, key, np.array(rows)) for key, rows in sorted(place_of.items())]


def slice_by_range(name: str, values: pl.Series) -> list[Slice]:
    """Divide rows by size into parts of about as many rows; equal values stay together."""
    numbers = values.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = np.flatnonzero(np.isfinite(numbers))
    if not len(known):
        return [Slice(name, "(missing)", np.arange(len(values)))]
    edges = np.unique(
        np.quantile(numbers[known], np.arange(1, QUANTILE_PARTS) / QUANTILE_PARTS, method="lower")
    )
    part = np.searchsorted(edges, numbers[known], side="left")
    found = []
    for place in np.unique(part):
        rows = known[part == place]
        low, high = (values[int(rows[at(numbers[rows])])] for at in (np.argmin, np.argmax))
        found.append(Slice(name, format_range(low, high), rows))
    missing = np.flatnonzero(~np.isfinite(numbers))
    return [*found, *([Slice(name, "(missing)", missing)] if len(missing) else [])]


def format_range(low: object, high: object) -> str:
    """Write from where to where."""
    texts = [f"{end:.6g}" if isinstance(end, float) else str(end) for end in (low, high)]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def slice_by_class(judged: Predictions, classes: Sequence[Any]) -> list[Slice]:
    """Divide rows by their class; of labels, which may stand together, list the rows of each."""
    if isinstance(judged, TagPredictions):
        held = judged.target_RK.T
        return [
            Slice("label", str(name), np.flatnonzero(held[code]), code)
            for code, name in enumerate(classes)
        ]
    if not isinstance(judged, SinglePredictions) or not judged.classes:
        return []
    codes_R = encode_targets(judged)
    names = [*map(str, classes), "(unseen)"]
    return [
        Slice("class", names[code], np.flatnonzero(codes_R == code), int(code))
        for code in np.unique(codes_R)
    ]


def build_class_f1(code: int) -> AdditiveMetric:
    """F1 of one class or label, of all rows: of those that are taken for it wrongly, too."""

    def terms(judged: SinglePredictions | TagPredictions) -> Floats:
        if isinstance(judged, TagPredictions):
            true_R, said_R = judged.target_RK[:, code], judged.prediction_RK[:, code]
            return stack_columns(true_R & said_R, true_R, said_R)
        true_R, said_R = encode_targets(judged) == code, encode_predictions(judged) == code
        return stack_columns(true_R & mark_correct(judged), true_R, said_R)

    def total(sums_BF: Floats) -> Floats:
        return divide_or(2 * sums_BF[:, 0], sums_BF[:, 1] + sums_BF[:, 2], otherwise=np.nan)

    return AdditiveMetric(terms, total)


def score_slices(
    judged: Predictions,
    slices: Sequence[Slice],
    *,
    metric: str,
    confidence: float,
    count: int,
    by_time: bool,
) -> list[dict[str, Any]]:
    """Score every slice, with its interval.

    Args:
        judged: the answers of one model.
        slices: of its rows.
        metric: that decides; of a class that has none of its own, its F1.
        confidence: of the intervals.
        count: resamples, of which large slices take fewer.
        by_time: whether neighbours among the rows are alike.
    """
    own = {
        place: build_class_f1(each.code)
        for place, each in enumerate(slices)
        if each.code is not None
        and (isinstance(judged, TagPredictions) or metric not in ROW_METRICS)
    }
    intervals = compute_joint_intervals(
        judged, own, confidence=confidence, count=count, by_time=by_time
    )
    told = []
    for place, each in enumerate(slices):
        if place in own:
            value, (low, high) = own[place](judged), intervals[place]
        else:
            value, (low, high) = score_slice(
                judged.select(each.rows_S),
                metric,
                confidence=confidence,
                count=count,
                by_time=by_time,
            )
        entry = {"by": each.by, "value": each.value, "rows": len(each.rows_S)}
        scores = {"score": value, "low": low, "high": high}
        told.append(
            entry
            | {name: None if np.isnan(number) else number for name, number in scores.items()}
            | {"metric": "f1" if place in own else metric}
        )
    return told


def limit_samples(rows: int, count: int) -> int:
    """Return how many resamples of so many rows are drawn: 100 at least."""
    return min(count, max(100, BUDGET // max(rows, 1)))


def compute_joint_intervals(
    judged: Predictions,
    own: Mapping[int, AdditiveMetric],
    *,
    confidence: float,
    count: int,
    by_time: bool,
) -> dict[int, Interval]:
    """Return the intervals of several numbers of all rows, from the same resamples."""
    if not own:
        return {}
    found = compute_score_intervals(
        {str(place): metric for place, metric in own.items()},
        judged,
        confidence=confidence,
        count=limit_samples(len(judged), count),
        block=choose_score_block(own.values(), judged, by_time=by_time),
        seed=0,
    )
    return {place: found[str(place)] for place in own}


def score_slice(
    part: Predictions, metric: str, *, confidence: float, count: int, by_time: bool
) -> tuple[float, Interval]:
    """Score some rows by themselves."""
    compute = METRICS[part.kind][metric]
    found = compute_score_interval(
        compute,
        part,
        confidence=confidence,
        count=limit_samples(len(part), count),
        block=choose_score_block([compute], part, by_time=by_time),
        seed=0,
    )
    return compute(part), found


def find_worst_slice(
    told: Sequence[Mapping[str, Any]], *, metric: str, overall: float
) -> dict[str, Any] | None:
    """Name the slice that is worst at its best, and of those as good there the worst by its score.

    None where fewer than two have rows enough.
    `is_significant` says whether even the favourable end of its interval is worse than all rows.
    """
    sign = get_metric_sign(metric)

    def best_end(entry: Mapping[str, Any]) -> float:
        return float(entry["high"]) if sign > 0 or own(entry) else -float(entry["low"])

    def own(entry: Mapping[str, Any]) -> bool:
        return bool(entry["metric"] == "f1")

    def badness(entry: Mapping[str, Any]) -> tuple[float, float]:
        better = 1.0 if sign > 0 or own(entry) else -1.0
        return best_end(entry), better * float(entry["score"])

    known = [
        each
        for each in told
        if each["rows"] >= MIN_ROWS and each["low"] is not None and each["score"] is not None
    ]
    if len(known) < 2:
        return None
    worst = min(known, key=badness)
    clear = (sign > 0 or not own(worst)) and best_end(worst) < sign * overall
    return dict(worst) | {"is_significant": bool(clear)}


def reindex_slices(slices: Sequence[Slice], rows_F: NDArray[np.int64], total: int) -> list[Slice]:
    """Find the slices again among some of all rows; empty ones are left out."""
    place_R = np.full(total, -1)
    place_R[rows_F] = np.arange(len(rows_F))
    found = [each._replace(rows_S=place_R[each.rows_S]) for each in slices]
    held = [each._replace(rows_S=each.rows_S[each.rows_S >= 0]) for each in found]
    return [each for each in held if len(each.rows_S)]
