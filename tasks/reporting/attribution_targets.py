"""The output that is attributed to the steps of a row: a weighted sum of the network's outputs.

Shapes: O outputs of one row, K labels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.networks.heads.config import HeadConfig

_OUTPUTS_PER_VALUE = {"gaussian_nll": 2, "student_t": 3, "negative_binomial": 2}
"""Outputs for each predicted value, by the loss of the head; 1 for the others."""


class AttributionTarget(NamedTuple):
    """A weighted sum of outputs."""

    weight_O: NDArray[np.float64]
    description: str
    """What the sum is, to end a sentence with."""
    offset: float = 0.0
    """Added to the sum, it gives the prediction in the target's unit."""


class TargetScale(NamedTuple):
    """How the target of a row was standardized: (value - mean) / std."""

    mean: float
    std: float


def build_class_target(
    output_O: NDArray[np.float32], true_code: int, classes: tuple[object, ...]
) -> AttributionTarget:
    """Build the log odds of the predicted class against the true one.

    Where the prediction is correct, or the true class unknown (-1), against the second most
    probable class.
    """
    order = np.argsort(-output_O, kind="stable")
    predicted, second = int(order[0]), int(order[1]) if len(order) > 1 else int(order[0])
    other = true_code if true_code not in {predicted, -1} else second
    weight_O = np.zeros(len(output_O))
    weight_O[other] = -1.0
    weight_O[predicted] = 1.0
    description = f"log odds of {classes[predicted]!s} against {classes[other]!s}"
    return AttributionTarget(weight_O, description)


def build_tag_target(
    logit_K: NDArray[np.float32], target_K: NDArray[np.bool_], labels: tuple[object, ...]
) -> AttributionTarget:
    """Build the log odds of one label: the wrong one of the largest logit, or the most probable."""
    is_wrong_K = (logit_K >= 0) != target_K
    rank_K = np.abs(logit_K) if is_wrong_K.any() else logit_K.astype(np.float64)
    label = int(np.where(is_wrong_K | ~is_wrong_K.any(), rank_K, -np.inf).argmax())
    weight_K = np.zeros(len(logit_K))
    weight_K[label] = 1.0
    return AttributionTarget(weight_K, f"log odds of {labels[label]!s}")


def build_number_target(
    bundle: Bundle, outputs: int, scale: TargetScale, *, column: int
) -> AttributionTarget:
    """Build a predicted number, or the mean of a forecast's steps, in the target's unit.

    Args:
        bundle: the model.
        outputs: their count.
        scale: of the column.
        column: index of the column, where several are forecast together.
    """
    parts, window = bundle.featurizer.target.list_parts(), bundle.featurizer.layout.window
    outputs_per_value, index = _locate_value(bundle.head)
    steps, target = outputs // outputs_per_value // len(parts), parts[column]
    weight_O = np.zeros(outputs)
    first = column * outputs_per_value + index
    weight_O[first :: outputs_per_value * len(parts)] = scale.std / steps
    is_forecast = target.kind == "forecast" and window is not None
    description = target.column
    if is_forecast:
        unit = "values" if target.log_range is None else "logarithms"
        description = f"mean of the next {steps} {unit} of {target.column}"
    return AttributionTarget(weight_O, description, scale.mean)


def _locate_value(head: HeadConfig) -> tuple[int, int]:
    """Return how many outputs a predicted value has, and the index of the value among them."""
    if head.loss == "quantile":
        return len(head.quantiles), head.quantiles.index(0.5)
    return _OUTPUTS_PER_VALUE.get(head.loss, 1), 0
