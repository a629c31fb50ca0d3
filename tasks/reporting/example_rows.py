"""The choice of test rows that are explained: correct and wrong ones of each class.

It depends on the predictions alone, so equal models are explained by equal rows.
Shapes: R test rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import (
    Floats,
    ForecastPredictions,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TagPredictions,
    TextPredictions,
)

MAX_ROWS = 20
"""Rows that are explained at most."""

_ROWS_PER_CLASS = 3
"""Correct rows of one class, and as many wrong ones, at most."""


class ExampleRow(NamedTuple):
    """A row to explain."""

    position: int
    """Among the test rows."""
    is_correct: bool | None
    """Whether the prediction is correct; None where there is no target. Of numbers, whether the
    error is at most the median."""


def choose_rows(predictions: Predictions) -> list[ExampleRow]:
    """Choose at most `MAX_ROWS` rows."""
    if isinstance(predictions, SinglePredictions) and predictions.num_classes:
        return _choose_by_class(predictions)
    if isinstance(predictions, TagPredictions):
        is_correct_R = (predictions.target_RK == predictions.prediction_RK).all(axis=1)
        return _choose_by_correctness(is_correct_R)
    if isinstance(predictions, TextPredictions):
        return _choose_by_correctness(predictions.exact_match_R)
    if isinstance(predictions, SelfSupervisedErrors):
        return [ExampleRow(index, None) for index, _ in _choose_by_error(predictions.error_R)]
    return _choose_by_error(_compute_errors(predictions))


def take_evenly(indexes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Take at most `count` indexes, evenly spaced, the first and the last among them."""
    if len(indexes) <= count:
        return indexes
    return indexes[np.linspace(0, len(indexes) - 1, count).round().astype(np.int64)]


def _compute_errors(predictions: Predictions) -> Floats:
    """Compute the absolute error [R] of each number or its mean over a forecast; NaN for none."""
    if isinstance(predictions, SinglePredictions):
        return np.abs(predictions.target_R - predictions.prediction_R)
    assert isinstance(predictions, ForecastPredictions)  # noqa: S101 - all other kinds are chosen above
    with np.errstate(invalid="ignore", divide="ignore"):
        error_R: Floats = predictions.absolute_error_R / predictions.count_R
    error_R[np.isnan(predictions.steps.prediction_RT).any(axis=1)] = np.nan
    return error_R


def _choose_by_class(predictions: SinglePredictions) -> list[ExampleRow]:
    """Choose correct rows of median probability, and the wrong ones of the lowest, by class."""
    target_R = predictions.target_R
    is_correct_R = target_R == predictions.prediction_R
    is_known_R = ~np.isnan(predictions.prediction_R)
    codes, counts = np.unique(target_R[is_known_R], return_counts=True)
    common = codes[np.argsort(-counts, kind="stable")][: MAX_ROWS // 2]
    rows_per_class = min(_ROWS_PER_CLASS, max(1, MAX_ROWS // (2 * max(1, len(common)))))
    chosen = []
    for code in sorted(common.tolist()):
        is_own_R = is_known_R & (target_R == code)
        correct = np.flatnonzero(is_own_R & is_correct_R)
        wrong = np.flatnonzero(is_own_R & ~is_correct_R)
        ordered = correct[np.argsort(predictions.probability_R[correct], kind="stable")]
        worst = wrong[np.argsort(predictions.probability_R[wrong], kind="stable")]
        chosen += [ExampleRow(int(index), True) for index in _take_middle(ordered, rows_per_class)]
        chosen += [ExampleRow(int(index), False) for index in worst[:rows_per_class]]
    return chosen


def _choose_by_correctness(is_correct_R: NDArray[np.bool_]) -> list[ExampleRow]:
    """Choose some correct rows and some wrong ones, evenly spaced."""
    chosen = []
    for is_correct in (True, False):
        indexes = take_evenly(np.flatnonzero(is_correct_R == is_correct), 2 * _ROWS_PER_CLASS)
        chosen += [ExampleRow(int(index), is_correct) for index in indexes]
    return chosen


def _choose_by_error(error_R: Floats) -> list[ExampleRow]:
    """Choose rows of errors up to the median, and those of the largest errors."""
    known = np.flatnonzero(np.isfinite(error_R))
    ordered = known[np.argsort(error_R[known], kind="stable")]
    half = len(ordered) // 2
    indexes = [
        *take_evenly(ordered[:half], _ROWS_PER_CLASS),
        *ordered[max(half, len(ordered) - 2 * _ROWS_PER_CLASS) :],
    ]
    median = float(np.median(error_R[known])) if len(known) else 0.0
    return [ExampleRow(int(index), bool(error_R[index] <= median)) for index in indexes]


def _take_middle(indexes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Take `count` indexes from the middle."""
    begin = max(0, (len(indexes) - count) // 2)
    return indexes[begin : begin + count]
