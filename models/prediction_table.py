"""From the outputs of a head to the table of predictions: one writer for each kind of target.

Shapes: S rows, O numbers that the head gives of each, K classes or labels, T steps of a forecast,
R outputs of each step, Q quantiles, P numbers of a vector.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from models.calibration import Calibration, compute_interval, compute_reference_bounds, softmax
from models.features.config import SELF_SUPERVISED, TargetKind
from models.features.featurizer import Featurizer
from models.features.target import Target
from models.networks.heads.config import DISTRIBUTION_LOSSES, HeadConfig
from models.networks.heads.ctc import TEXT_PADDING

Columns = dict[str, pl.Series]
Doubles = NDArray[np.float64]

TAG_THRESHOLD = 0.5
"""Probability from which on a tag is predicted."""

INTERVAL_PREFIX = "interval_"

PARTS = {"gaussian_nll": 2, "student_t": 3, "negative_binomial": 2}
"""Outputs of one step of each distribution; one of any other loss."""


class PredictionContext(NamedTuple):
    """What the outputs alone do not contain."""

    entities: pl.Series | None = None
    """The entity of each row, where the target is scaled per entity."""
    calibration: Calibration | None = None


def build_columns(
    outputs_SO: NDArray[np.float32],
    featurizer: Featurizer,
    head: HeadConfig,
    *,
    context: PredictionContext,
) -> Columns:
    """Return the predictions of rows as columns, `prediction` first.

    Args:
        outputs_SO: outputs of the head.
        featurizer: with the fitted target.
        head: settings of the head.
        context: entities and calibration.
    """
    target = featurizer.target
    if not len(outputs_SO):
        # Without rows the columns still have the types of this kind.
        blank = np.zeros((1, count_outputs(featurizer, head)), np.float32)
        columns = WRITERS[target.kind](
            blank, target, head, PredictionContext(None, context.calibration)
        )
        return {name: column.clear() for name, column in columns.items()}
    return WRITERS[target.kind](outputs_SO, target, head, context)


def count_outputs(featurizer: Featurizer, head: HeadConfig) -> int:
    """Return the smallest number of outputs that a row of this kind can have."""
    window, kind = featurizer.layout.window, featurizer.target.kind
    if kind in SELF_SUPERVISED:
        return 3
    steps = window.horizon if window and kind == "forecast" else 1
    return max(len(featurizer.target.classes), steps * count_parts(head))


def count_parts(head: HeadConfig) -> int:
    """Return how many outputs describe one step."""
    return len(head.quantiles) if head.loss == "quantile" else PARTS.get(head.loss, 1)


def split_parts(outputs_SO: NDArray[np.float32], head: HeadConfig) -> Doubles:
    """Reshape the outputs of numbers and forecasts to [S, T, R]."""
    return outputs_SO.reshape(len(outputs_SO), -1, count_parts(head)).astype(np.float64)


def write_classes(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: PredictionContext
) -> Columns:
    """Return the likeliest class, all probabilities, and the conformal prediction set."""
    del head
    calibration = beside.calibration
    # From the raw outputs: no temperature changes which one is the largest.
    best_S = outputs_SO.argmax(axis=1)
    rows_S = np.arange(len(best_S))
    probabilities_SK = softmax(outputs_SO, calibration.temperature if calibration else 1.0)
    columns = {
        "prediction": target.decode(best_S),
        "probability": pl.Series(probabilities_SK[rows_S, best_S]),
        "probabilities": to_lists(probabilities_SK),
    }
    if calibration and calibration.probability_threshold is not None:
        inside_SK = probabilities_SK >= calibration.probability_threshold
        inside_SK[rows_S, best_S] = True
        columns["prediction_set"] = write_class_lists(inside_SK, target)
    return columns


def write_tags(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: PredictionContext
) -> Columns:
    """Return the tags above the threshold, and the probability of each."""
    del head, beside
    probabilities_SK = 1 / (1 + np.exp(-outputs_SO.astype(np.float64)))
    return {
        "prediction": write_class_lists(probabilities_SK >= TAG_THRESHOLD, target),
        "probabilities": to_lists(probabilities_SK),
    }


def write_class_lists(chosen_SK: NDArray[np.bool_], target: Target) -> pl.Series:
    """Return the chosen classes of each row as lists, in the order of the classes."""
    names = pl.Series(list(target.classes)).gather(np.nonzero(chosen_SK)[1])
    offsets = np.concatenate([[0], chosen_SK.sum(axis=1).cumsum()])
    return pl.Series(pa.LargeListArray.from_arrays(offsets, names.to_arrow()))


def write_numbers(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: PredictionContext
) -> Columns:
    """Return numbers in the target's unit, with quantiles and interval where there are some."""
    columns = describe_parts(split_parts(outputs_SO, head), target, head, beside)
    return {name: pl.Series(values_ST[:, 0]) for name, values_ST in columns.items()}


def write_forecasts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: PredictionContext
) -> Columns:
    """Return the steps of forecasts as lists, with quantiles and intervals likewise."""
    columns = describe_parts(split_parts(outputs_SO, head), target, head, beside)
    return {
        name: to_lists(values_ST, gaps=name.startswith(INTERVAL_PREFIX))
        for name, values_ST in columns.items()
    }


def describe_parts(
    parts: Doubles, target: Target, head: HeadConfig, beside: PredictionContext
) -> dict[str, Doubles]:
    """Return prediction, quantiles and interval bounds in the target's unit, [S, T] each."""
    means_S, scales_S = target.scales(len(parts), beside.entities)
    columns = rescale_parts(parts, head, means_S, scales_S)
    margins = beside.calibration.conformal_quantiles if beside.calibration else ()
    if all(margin is None for margin in margins):
        return columns
    edges = compute_reference_bounds(parts, head, mean=target.mean, spread=target.std)
    low_ST, high_ST = compute_interval(edges, parts[:, :, find_point_index(head)], margins)
    counted = head.loss == "negative_binomial"
    low_ST = low_ST * scales_S[:, None] + means_S[:, None]
    columns[f"{INTERVAL_PREFIX}low"] = np.maximum(low_ST, 0.0) if counted else low_ST
    columns[f"{INTERVAL_PREFIX}high"] = high_ST * scales_S[:, None] + means_S[:, None]
    return columns


def rescale_parts(
    parts_STR: NDArray[Any], head: HeadConfig, means_S: Doubles, scales_S: Doubles
) -> dict[str, Doubles]:
    """Return prediction, standard deviation and quantiles in the target's unit, [S, T] each."""
    parts = parts_STR.astype(np.float64)
    mean_S1, scale_S1 = means_S[:, None], scales_S[:, None]
    columns = {"prediction": parts[:, :, find_point_index(head)] * scale_S1 + mean_S1}
    if head.loss == "gaussian_nll":
        columns["standard_deviation"] = parts[:, :, 1] * scale_S1
    if head.loss in DISTRIBUTION_LOSSES:
        for number, level in enumerate(head.quantiles):
            scaled_ST = compute_quantile(parts, head, number, mean=means_S, spread=scales_S)
            columns[f"quantile_{level:g}"] = scaled_ST * scale_S1 + mean_S1
    return columns


def find_point_index(head: HeadConfig) -> int:
    """Return the index of the output that is the point prediction."""
    return head.quantiles.index(0.5) if head.loss == "quantile" else 0


def compute_quantile(
    parts_STR: Doubles, head: HeadConfig, number: int, *, mean: Doubles, spread: Doubles
) -> Doubles:
    """Return one quantile of the predicted distribution, on the scale of the network, [S, T]."""
    from scipy import special, stats

    level = head.quantiles[number]
    if head.loss == "quantile":
        return parts_STR[:, :, number]
    if head.loss == "gaussian_nll":
        return np.asarray(parts_STR[:, :, 0] + parts_STR[:, :, 1] * special.ndtri(level))
    if head.loss == "student_t":
        off = special.stdtrit(parts_STR[:, :, 2], level)
        return np.asarray(parts_STR[:, :, 0] + parts_STR[:, :, 1] * off)
    counts_ST = np.maximum(parts_STR[:, :, 0] * spread[:, None] + mean[:, None], 1e-6)
    dispersion_ST = parts_STR[:, :, 1]
    found = stats.nbinom.ppf(level, 1 / dispersion_ST, 1 / (1 + dispersion_ST * counts_ST))
    return np.asarray((found - mean[:, None]) / spread[:, None])


def write_texts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: PredictionContext
) -> Columns:
    """Return texts, and the geometric mean of the probabilities of their symbols."""
    del head, beside
    ids = outputs_SO[:, 1:].astype(np.int64)
    texts = [target.write(row[row != int(TEXT_PADDING)]) for row in ids]
    return {
        "prediction": pl.Series(texts, dtype=pl.String),
        "probability": pl.Series(np.exp(outputs_SO[:, 0].astype(np.float64))),
    }


def write_self_supervised(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: PredictionContext
) -> Columns:
    """Return the error of each sequence, those of two naive predictions, and its vector."""
    del target, head, beside
    error_S, mean_S, lag1_S = outputs_SO[:, :3].astype(np.float64).T
    return {
        "prediction": pl.Series(error_S),
        "mean_error": pl.Series(mean_S),
        "lag1_error": pl.Series(lag1_S),
        "vector": to_lists(outputs_SO[:, 3:].astype(np.float64)),
    }


def to_lists(values: Doubles, *, gaps: bool = False) -> pl.Series:
    """Return rows of numbers as lists; with `gaps`, NaN becomes null."""
    column = pl.Series(np.ascontiguousarray(values)).cast(pl.List(pl.Float64))
    return column.list.eval(pl.element().fill_nan(None)) if gaps else column


Writer = Callable[[NDArray[np.float32], Target, HeadConfig, PredictionContext], Columns]

WRITERS: dict[TargetKind, Writer] = {
    "category": write_classes,
    "number": write_numbers,
    "tags": write_tags,
    "forecast": write_forecasts,
    "text": write_texts,
    "next_step": write_self_supervised,
    "reconstruction": write_self_supervised,
}
