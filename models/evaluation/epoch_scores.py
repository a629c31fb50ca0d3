"""Metrics of a head's outputs, without a table in between: the scores that compare epochs.

Shapes: S sequences, O outputs, K classes or labels, T steps of a forecast.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.calibration import compute_softmax
from models.evaluation.metrics.by_kind import LOWER_IS_BETTER, METRICS
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    ColumnScales,
    Floats,
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TagPredictions,
)
from models.features.config import TargetKind
from models.features.target import Target
from models.networks.heads.config import HeadConfig
from models.prediction_table import WRITERS, PredictionContext

EXPENSIVE_KINDS: tuple[TargetKind, ...] = ("text",)
"""Kinds whose predictions cost much more than their loss: measured only for early stopping."""


class ValidationTargets(NamedTuple):
    """Targets of the validation sequences."""

    values: Any
    """Class codes or numbers [S]; of tags whether each label applies, [S, K + 1]; of forecasts
    numbers, [S, T]; texts as a column; not used for self-supervised targets."""
    target: Target
    """Has the scale of the numbers."""
    head: HeadConfig


def build_predictions(outputs_SO: NDArray[np.float32], targets: ValidationTargets) -> Predictions:
    """Convert outputs to predictions, and pair them with their targets."""
    return _BUILDERS[targets.target.kind](outputs_SO, targets)


def get_default_metric(kind: TargetKind) -> str:
    """Return the metric that is reported where the job names none."""
    return "macro_f1" if kind == "category" else next(iter(METRICS[kind]))


def build_metric_function(
    name: str, targets: ValidationTargets
) -> Callable[[NDArray[np.float32]], float]:
    """Build the function that computes a metric from outputs [S, O]."""
    compute = METRICS[targets.target.kind][name]
    return lambda outputs_SO: compute(build_predictions(outputs_SO, targets))


def is_higher_better(name: str) -> bool:
    """Check whether a higher value of the metric is better."""
    return name not in LOWER_IS_BETTER


def _build_class_predictions(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> Predictions:
    """Predict the class with the highest score; probabilities by softmax."""
    probabilities_SK = compute_softmax(outputs_SO, 1.0)
    codes_S = np.asarray(targets.values, np.int64)
    target_probability_S = probabilities_SK[
        np.arange(len(probabilities_SK)), np.maximum(codes_S, 0)
    ]
    probability_S = np.where(codes_S < 0, 0.0, target_probability_S)
    prediction_S = outputs_SO.argmax(axis=1).astype(np.float64)
    count = len(targets.target.classes)
    return SinglePredictions(
        codes_S.astype(np.float64), prediction_S, probability_S, count, probabilities_SK
    )


def _build_tag_predictions(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> Predictions:
    """Predict the labels with a probability of at least 0.5; never one unseen in training."""
    prediction_SK = np.pad(outputs_SO >= 0, ((0, 0), (0, 1)))
    return TagPredictions(targets.values, prediction_SK)


def _build_number_predictions(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> Predictions:
    """Predict numbers in the target's unit."""
    prediction_S = _rescale_outputs(outputs_SO, targets)["prediction"].to_numpy()
    return SinglePredictions(targets.values, prediction_S, np.full(len(prediction_S), np.nan), 0)


def _build_forecast_predictions(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> Predictions:
    """Predict each step, with the quantiles where the head has them."""
    columns = _rescale_outputs(outputs_SO, targets)
    target = targets.target

    def read(name: str) -> Floats:
        lists = [_stack_lists(columns[own]) for own in target.list_output_names(name)]
        return np.stack(lists, axis=2).reshape(len(outputs_SO), -1)

    levels = {f"quantile_{level:g}": level for level in targets.head.quantiles}
    names = [name for name in levels if target.list_output_names(name)[0] in columns]
    steps = ForecastSteps(
        targets.values,
        read("prediction"),
        tuple(read(name) for name in names),
        tuple(levels[name] for name in names),
    )
    unknown_R = np.full(len(outputs_SO), np.nan)
    if not target.parts:
        return summarize_forecasts(steps, unknown_R)
    shape = (len(outputs_SO), len(target.parts))
    stds_RK = np.broadcast_to([part.std for part in target.parts], shape)
    unknown_RK = np.broadcast_to(unknown_R[:, None], shape)
    return summarize_forecasts(steps, ColumnScales(target.columns, stds_RK, unknown_RK))


def _build_text_predictions(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> Predictions:
    """Predict texts, and compare them with the targets."""
    return compare_texts(
        targets.values.to_list(), _rescale_outputs(outputs_SO, targets)["prediction"].to_list()
    )


def _build_self_supervised_errors(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> Predictions:
    """Read the errors of the network and of always predicting the mean."""
    del targets
    error_S, baseline_S = outputs_SO[:, :2].astype(np.float64).T
    return SelfSupervisedErrors(error_S, baseline_S)


_BUILDERS: dict[TargetKind, Callable[[NDArray[np.float32], ValidationTargets], Predictions]] = {
    "category": _build_class_predictions,
    "number": _build_number_predictions,
    "tags": _build_tag_predictions,
    "forecast": _build_forecast_predictions,
    "text": _build_text_predictions,
    "next_step": _build_self_supervised_errors,
    "reconstruction": _build_self_supervised_errors,
}


def _rescale_outputs(
    outputs_SO: NDArray[np.float32], targets: ValidationTargets
) -> dict[str, pl.Series]:
    """Return the columns of the prediction table, in the target's unit."""
    return WRITERS[targets.target.kind](
        outputs_SO, targets.target, targets.head, PredictionContext()
    )


def _stack_lists(lists: pl.Series) -> Floats:
    """Convert lists of equal length to an array [S, T]."""
    return lists.explode(empty_as_null=False).to_numpy().reshape(len(lists), -1)
