"""Outputs of a head to the table of predictions: one function for each kind of target.

Shapes: S rows, O outputs of the head for each row, K classes or labels, T numbers of a forecast
(its steps, of several columns by step and then by column), R outputs of each
number, Q quantiles, P numbers of a vector.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from models.calibration import (
    Calibration,
    compute_interval,
    compute_reference_bounds,
    compute_softmax,
)
from models.features.config import SELF_SUPERVISED, TargetKind
from models.features.featurizer import Featurizer
from models.features.steps import Doubles
from models.features.target import Target
from models.networks.heads.config import DISTRIBUTION_LOSSES, HeadConfig
from models.networks.heads.ctc import TEXT_PADDING

_Columns = dict[str, pl.Series]

_TAG_THRESHOLD = 0.5
"""Lowest probability of a predicted tag."""

_INTERVAL_PREFIX = "interval_"

_OUTPUTS_PER_STEP = {"gaussian_nll": 2, "student_t": 3, "negative_binomial": 2}
"""Number of outputs of one step for each distribution loss; 1 for any other loss but quantile."""


class PredictionContext(NamedTuple):
    """What the outputs alone do not contain."""

    entities: pl.Series | None = None
    """The entity of each row, where the target is scaled per entity."""
    calibration: Calibration | None = None


_Writer = Callable[[NDArray[np.float32], Target, HeadConfig, PredictionContext], _Columns]


def build_prediction_columns(
    outputs_SO: NDArray[np.float32],
    featurizer: Featurizer,
    head: HeadConfig,
    *,
    context: PredictionContext,
) -> _Columns:
    """Return the predictions of rows as columns, `prediction` first.

    Args:
        outputs_SO: outputs of the head.
        featurizer: with the fitted target.
        head: settings of the head.
        context: entities and calibration.
    """
    target = featurizer.target
    if not len(outputs_SO):
        # Without rows the columns still have the types of this kind of target.
        zeros = np.zeros((1, _count_min_outputs(featurizer, head)), np.float32)
        columns = WRITERS[target.kind](
            zeros, target, head, PredictionContext(None, context.calibration)
        )
        return {name: column.clear() for name, column in columns.items()}
    return WRITERS[target.kind](outputs_SO, target, head, context)


def reshape_step_outputs(outputs_SO: NDArray[np.float32], head: HeadConfig) -> Doubles:
    """Reshape the outputs of numbers and forecasts to [S, T, R]."""
    return outputs_SO.reshape(len(outputs_SO), -1, _count_step_outputs(head)).astype(np.float64)


def rescale_step_outputs(
    outputs_STR: NDArray[Any], head: HeadConfig, means: Doubles, scales: Doubles
) -> dict[str, Doubles]:
    """Return prediction, standard deviation and quantiles in the target's unit, [S, T] each.

    Args:
        outputs_STR: of the head.
        head: with the loss.
        means: of the targets, [S, 1] or [S, T].
        scales: their standard deviations, likewise.
    """
    outputs = outputs_STR.astype(np.float64)
    columns = {"prediction": outputs[:, :, _find_point_index(head)] * scales + means}
    if head.loss == "gaussian_nll":
        columns["standard_deviation"] = outputs[:, :, 1] * scales
    if head.loss in DISTRIBUTION_LOSSES:
        for number, level in enumerate(head.quantiles):
            scaled_ST = _compute_quantile(outputs, head, number, mean=means, std=scales)
            columns[f"quantile_{level:g}"] = scaled_ST * scales + means
    return columns


def _count_min_outputs(featurizer: Featurizer, head: HeadConfig) -> int:
    """Return the smallest number of outputs that a row of this kind of target can have."""
    window, kind = featurizer.layout.window, featurizer.target.kind
    if kind in SELF_SUPERVISED:
        return 3
    steps = window.horizon if window and kind == "forecast" else 1
    steps *= len(featurizer.target.list_parts())
    return max(len(featurizer.target.classes), steps * _count_step_outputs(head))


def _count_step_outputs(head: HeadConfig) -> int:
    """Return the number of outputs of one step."""
    return len(head.quantiles) if head.loss == "quantile" else _OUTPUTS_PER_STEP.get(head.loss, 1)


def _write_classes(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, context: PredictionContext
) -> _Columns:
    """Return the most probable class, all probabilities, and the conformal prediction set."""
    del head
    calibration = context.calibration
    # From the raw outputs: the temperature does not change which one is the largest.
    predicted_S = outputs_SO.argmax(axis=1)
    rows_S = np.arange(len(predicted_S))
    probabilities_SK = compute_softmax(outputs_SO, calibration.temperature if calibration else 1.0)
    columns = {
        "prediction": target.decode(predicted_S),
        "probability": pl.Series(probabilities_SK[rows_S, predicted_S]),
        "probabilities": _to_lists(probabilities_SK),
    }
    if calibration and calibration.probability_threshold is not None:
        in_set_SK = probabilities_SK >= calibration.probability_threshold
        in_set_SK[rows_S, predicted_S] = True
        columns["prediction_set"] = _write_class_lists(in_set_SK, target)
    return columns


def _write_tags(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, context: PredictionContext
) -> _Columns:
    """Return the tags above the threshold, and the probability of each."""
    del head, context
    probabilities_SK = 1 / (1 + np.exp(-outputs_SO.astype(np.float64)))
    return {
        "prediction": _write_class_lists(probabilities_SK >= _TAG_THRESHOLD, target),
        "probabilities": _to_lists(probabilities_SK),
    }


def _write_class_lists(chosen_SK: NDArray[np.bool_], target: Target) -> pl.Series:
    """Return the chosen classes of each row as lists, in the order of the classes."""
    names = pl.Series(list(target.classes)).gather(np.nonzero(chosen_SK)[1])
    offsets = np.concatenate([[0], chosen_SK.sum(axis=1).cumsum()])
    return pl.Series(pa.LargeListArray.from_arrays(offsets, names.to_arrow()))


def _write_numbers(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, context: PredictionContext
) -> _Columns:
    """Return numbers in the target's unit, with quantiles and interval where the model has them."""
    columns = _build_step_columns(reshape_step_outputs(outputs_SO, head), target, head, context)
    return {name: pl.Series(values_ST[:, 0]) for name, values_ST in columns.items()}


def _write_forecasts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, context: PredictionContext
) -> _Columns:
    """Return the steps of forecasts as lists, with quantiles and intervals likewise.

    Of several columns each has lists of its own, such as `prediction_a` and `interval_low_a`.
    """
    columns = _build_step_columns(reshape_step_outputs(outputs_SO, head), target, head, context)
    count = len(target.list_parts())
    return {
        target.list_output_names(name)[index]: _to_lists(
            values_ST[:, index::count], gaps=name.startswith(_INTERVAL_PREFIX)
        )
        for index in range(count)
        for name, values_ST in columns.items()
    }


def _build_step_columns(
    outputs_STR: Doubles, target: Target, head: HeadConfig, context: PredictionContext
) -> dict[str, Doubles]:
    """Return prediction, quantiles and interval bounds in the target's unit, [S, T] each."""
    rows, numbers, _ = outputs_STR.shape
    steps = numbers // len(target.list_parts())
    means, scales = target.get_step_scales(rows, context.entities, steps)
    columns = _restore_units(rescale_step_outputs(outputs_STR, head, means, scales), target)
    conformal_quantiles = context.calibration.conformal_quantiles if context.calibration else ()
    if all(quantile is None for quantile in conformal_quantiles):
        return columns
    reference = compute_reference_bounds(outputs_STR, head, mean=target.mean, std=target.std)
    low_ST, high_ST = compute_interval(
        reference, outputs_STR[:, :, _find_point_index(head)], conformal_quantiles
    )
    is_count = head.loss == "negative_binomial"
    low_ST = low_ST * scales + means
    low_ST = np.maximum(low_ST, 0.0) if is_count else low_ST
    columns[f"{_INTERVAL_PREFIX}low"] = target.from_units(low_ST)
    columns[f"{_INTERVAL_PREFIX}high"] = target.from_units(high_ST * scales + means)
    return columns


def _restore_units(columns: dict[str, Doubles], target: Target) -> dict[str, Doubles]:
    """Return the columns of logarithms in the unit of the target.

    The prediction is then the median; the standard deviation is half the distance between the
    values one standard deviation above and below it.
    """
    if all(part.log_range is None for part in target.list_parts()):
        return columns
    restored = {name: target.from_units(units_ST) for name, units_ST in columns.items()}
    if "standard_deviation" in columns:
        units_ST, deviation_ST = columns["prediction"], columns["standard_deviation"]
        high_ST = target.from_units(units_ST + deviation_ST)
        low_ST = target.from_units(units_ST - deviation_ST)
        restored["standard_deviation"] = (high_ST - low_ST) / 2
    return restored


def _find_point_index(head: HeadConfig) -> int:
    """Return the index of the output that is the point prediction."""
    return head.quantiles.index(0.5) if head.loss == "quantile" else 0


def _compute_quantile(
    outputs_STR: Doubles, head: HeadConfig, number: int, *, mean: Doubles, std: Doubles
) -> Doubles:
    """Return one quantile of the predicted distribution, on the scale of the network, [S, T].

    `mean` and `std` are those of the targets, [S, 1] or [S, T].
    """
    from scipy import special, stats

    level = head.quantiles[number]
    if head.loss == "quantile":
        return outputs_STR[:, :, number]
    if head.loss == "gaussian_nll":
        return np.asarray(outputs_STR[:, :, 0] + outputs_STR[:, :, 1] * special.ndtri(level))
    if head.loss == "student_t":
        offset = special.stdtrit(outputs_STR[:, :, 2], level)
        return np.asarray(outputs_STR[:, :, 0] + outputs_STR[:, :, 1] * offset)
    counts_ST = np.maximum(outputs_STR[:, :, 0] * std + mean, 1e-6)
    dispersion_ST = outputs_STR[:, :, 1]
    counts_at_level_ST = stats.nbinom.ppf(
        level, 1 / dispersion_ST, 1 / (1 + dispersion_ST * counts_ST)
    )
    return np.asarray((counts_at_level_ST - mean) / std)


def _write_texts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, context: PredictionContext
) -> _Columns:
    """Return texts, and for each the geometric mean of the probabilities of its symbols."""
    del head, context
    ids = outputs_SO[:, 1:].astype(np.int64)
    texts = [target.decode_text(row[row != int(TEXT_PADDING)]) for row in ids]
    return {
        "prediction": pl.Series(texts, dtype=pl.String),
        "probability": pl.Series(np.exp(outputs_SO[:, 0].astype(np.float64))),
    }


def _write_self_supervised(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, context: PredictionContext
) -> _Columns:
    """Return the error of each sequence, the errors of two naive predictions, and its vector."""
    del target, head, context
    error_S, mean_S, lag1_S = outputs_SO[:, :3].astype(np.float64).T
    return {
        "prediction": pl.Series(error_S),
        "mean_error": pl.Series(mean_S),
        "lag1_error": pl.Series(lag1_S),
        "vector": _to_lists(outputs_SO[:, 3:].astype(np.float64)),
    }


def _to_lists(values: Doubles, *, gaps: bool = False) -> pl.Series:
    """Return rows of numbers as lists; with `gaps`, NaN becomes null."""
    column = pl.Series(np.ascontiguousarray(values)).cast(pl.List(pl.Float64))
    return column.list.eval(pl.element().fill_nan(None)) if gaps else column


WRITERS: dict[TargetKind, _Writer] = {
    "category": _write_classes,
    "number": _write_numbers,
    "tags": _write_tags,
    "forecast": _write_forecasts,
    "text": _write_texts,
    "next_step": _write_self_supervised,
    "reconstruction": _write_self_supervised,
}
