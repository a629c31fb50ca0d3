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
from models.evaluation.metrics.forecast import judge_forecasts
from models.evaluation.metrics.text import judge_texts
from models.evaluation.predictions import Answers, Floats, Judged, Mined, Steps, Tags
from models.features.config import Answer
from models.features.target import Target
from models.networks.heads.config import HeadConfig
from models.prediction_table import KINDS, Beside


class Truth(NamedTuple):
    """What would be right."""

    values: Any
    """Codes of classes or numbers, [S]; of tags whether each label holds, [S, K + 1]; of forecasts
    numbers, [S, T]; texts as a column; nothing of what is mined."""
    target: Target
    """On whose scale numbers are told."""
    head: HeadConfig


def judge_outputs(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Put the outputs for sequences beside what would be right."""
    return WAYS[truth.target.kind](outputs_SO, truth)


def judge_classes(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Take the likeliest class, and how likely each is."""
    chances_SK = softmax(outputs_SO, 1.0)
    codes_S = np.asarray(truth.values, np.int64)
    true_S = chances_SK[np.arange(len(chances_SK)), np.maximum(codes_S, 0)]
    chance_S = np.where(codes_S < 0, 0.0, true_S)
    said_S = outputs_SO.argmax(axis=1).astype(np.float64)
    count = len(truth.target.classes)
    return Answers(codes_S.astype(np.float64), said_S, chance_S, count, chances_SK)


def judge_labels(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Take the labels that are likelier than not; none is one that training never showed."""
    said_SK = np.pad(outputs_SO >= 0, ((0, 0), (0, 1)))
    return Tags(truth.values, said_SK)


def judge_numbers(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Take the number that would be answered."""
    said_S = told(outputs_SO, truth)["prediction"].to_numpy()
    return Answers(truth.values, said_S, np.full(len(said_S), np.nan), 0)


def judge_ahead(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Take the forecast that would be answered, and its quantiles."""
    columns = told(outputs_SO, truth)
    levels = {f"quantile_{level:g}": level for level in truth.head.quantiles}
    names = [name for name in columns if name in levels]
    steps = Steps(
        truth.values,
        flat(columns["prediction"]),
        tuple(flat(columns[name]) for name in names),
        tuple(levels[name] for name in names),
    )
    return judge_forecasts(steps, np.full(len(outputs_SO), np.nan))


def judge_written(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Take the text that would be answered."""
    return judge_texts(truth.values.to_list(), told(outputs_SO, truth)["prediction"].to_list())


def judge_mined(outputs_SO: NDArray[np.float32], truth: Truth) -> Judged:
    """Take the errors, and what naive answers would cost."""
    del truth
    error_S, usual_S = outputs_SO[:, :2].astype(np.float64).T
    return Mined(error_S, usual_S)


def told(outputs_SO: NDArray[np.float32], truth: Truth) -> dict[str, pl.Series]:
    """Write the answers as a user would read them, on the scale of all."""
    return KINDS[truth.target.kind](outputs_SO, truth.target, truth.head, Beside())


def flat(lists: pl.Series) -> Floats:
    """Read lists of equal lengths as [S, T]."""
    return lists.explode(empty_as_null=False).to_numpy().reshape(len(lists), -1)


WAYS: dict[Answer, Callable[[NDArray[np.float32], Truth], Judged]] = {
    "category": judge_classes,
    "number": judge_numbers,
    "tags": judge_labels,
    "forecast": judge_ahead,
    "text": judge_written,
    "next_step": judge_mined,
    "reconstruction": judge_mined,
}

DEAR: tuple[Answer, ...] = ("text",)
"""Kinds whose answers cost much more than their loss: measured only where it decides."""


def usual_metric(kind: Answer) -> str:
    """Name the metric that is told where no other is asked for."""
    return "macro_f1" if kind == "category" else next(iter(METRICS[kind]))


def measure_of(name: str, truth: Truth) -> Callable[[NDArray[np.float32]], float]:
    """Make the function that turns outputs into a metric."""
    compute = METRICS[truth.target.kind][name]
    return lambda outputs_SO: compute(judge_outputs(outputs_SO, truth))


def more_is_better(name: str) -> bool:
    """Tell which way a metric goes."""
    return name not in LOWER_IS_BETTER
