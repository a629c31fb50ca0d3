"""A head's numbers beside the truth, without a table in between: what training judges epochs by.

Shapes: S sequences, O outputs, K classes or labels, T steps of a forecast.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.calibration import softmax
from models.evaluation.metrics.by_kind import LOWER_IS_BETTER, METRICS
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
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


class ValidationTargets(NamedTuple):
    """What would be right."""

    values: Any
    """Codes of classes or numbers, [S]; of tags whether each label holds, [S, K + 1]; of forecasts
    numbers, [S, T]; texts as a column; nothing of what is mined."""
    target: Target
    """On whose scale numbers are told."""
    head: HeadConfig


def build_predictions(outputs_SO: NDArray[np.float32], truth: ValidationTargets) -> Predictions:
    """Put the outputs for sequences beside what would be right."""
    return BUILDERS[truth.target.kind](outputs_SO, truth)


def build_class_predictions(
    outputs_SO: NDArray[np.float32], truth: ValidationTargets
) -> Predictions:
    """Take the likeliest class, and how likely each is."""
    probabilities_SK = softmax(outputs_SO, 1.0)
    codes_S = np.asarray(truth.values, np.int64)
    true_S = probabilities_SK[np.arange(len(probabilities_SK)), np.maximum(codes_S, 0)]
    probability_S = np.where(codes_S < 0, 0.0, true_S)
    said_S = outputs_SO.argmax(axis=1).astype(np.float64)
    count = len(truth.target.classes)
    return SinglePredictions(
        codes_S.astype(np.float64), said_S, probability_S, count, probabilities_SK
    )


def build_tag_predictions(outputs_SO: NDArray[np.float32], truth: ValidationTargets) -> Predictions:
    """Take the labels that are likelier than not; none is one that training never showed."""
    said_SK = np.pad(outputs_SO >= 0, ((0, 0), (0, 1)))
    return TagPredictions(truth.values, said_SK)


def build_number_predictions(
    outputs_SO: NDArray[np.float32], truth: ValidationTargets
) -> Predictions:
    """Take the number that would be answered."""
    said_S = rescale_outputs(outputs_SO, truth)["prediction"].to_numpy()
    return SinglePredictions(truth.values, said_S, np.full(len(said_S), np.nan), 0)


def build_forecast_predictions(
    outputs_SO: NDArray[np.float32], truth: ValidationTargets
) -> Predictions:
    """Take the forecast that would be answered, and its quantiles."""
    columns = rescale_outputs(outputs_SO, truth)
    levels = {f"quantile_{level:g}": level for level in truth.head.quantiles}
    names = [name for name in columns if name in levels]
    steps = ForecastSteps(
        truth.values,
        stack_lists(columns["prediction"]),
        tuple(stack_lists(columns[name]) for name in names),
        tuple(levels[name] for name in names),
    )
    return summarize_forecasts(steps, np.full(len(outputs_SO), np.nan))


def build_text_predictions(
    outputs_SO: NDArray[np.float32], truth: ValidationTargets
) -> Predictions:
    """Take the text that would be answered."""
    return compare_texts(
        truth.values.to_list(), rescale_outputs(outputs_SO, truth)["prediction"].to_list()
    )


def build_self_supervised_errors(
    outputs_SO: NDArray[np.float32], truth: ValidationTargets
) -> Predictions:
    """Take the errors, and what naive answers would cost."""
    del truth
    error_S, usual_S = outputs_SO[:, :2].astype(np.float64).T
    return SelfSupervisedErrors(error_S, usual_S)


def rescale_outputs(
    outputs_SO: NDArray[np.float32], truth: ValidationTargets
) -> dict[str, pl.Series]:
    """Write the answers as a user would read them, on the scale of all."""
    return WRITERS[truth.target.kind](outputs_SO, truth.target, truth.head, PredictionContext())


def stack_lists(lists: pl.Series) -> Floats:
    """Read lists of equal lengths as [S, T]."""
    return lists.explode(empty_as_null=False).to_numpy().reshape(len(lists), -1)


BUILDERS: dict[TargetKind, Callable[[NDArray[np.float32], ValidationTargets], Predictions]] = {
    "category": build_class_predictions,
    "number": build_number_predictions,
    "tags": build_tag_predictions,
    "forecast": build_forecast_predictions,
    "text": build_text_predictions,
    "next_step": build_self_supervised_errors,
    "reconstruction": build_self_supervised_errors,
}

EXPENSIVE_KINDS: tuple[TargetKind, ...] = ("text",)
"""Kinds whose answers cost much more than their loss: measured only where it decides."""


def get_default_metric(kind: TargetKind) -> str:
    """Name the metric that is told where no other is asked for."""
    return "macro_f1" if kind == "category" else next(iter(METRICS[kind]))


def build_metric_function(
    name: str, truth: ValidationTargets
) -> Callable[[NDArray[np.float32]], float]:
    """Make the function that turns outputs into a metric."""
    compute = METRICS[truth.target.kind][name]
    return lambda outputs_SO: compute(build_predictions(outputs_SO, truth))


def is_higher_better(name: str) -> bool:
    """Return which way a metric goes."""
    return name not in LOWER_IS_BETTER
