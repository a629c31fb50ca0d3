"""What is asked about an answer, as a weighted sum of the network's outputs.

Shapes: O outputs of one row, T steps of a forecast, R parts of a number.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.networks.heads.config import HeadConfig

PARTS = {"gaussian_nll": 2, "student_t": 3, "negative_binomial": 2}
"""Numbers that a head gives of each answer, where they are more than one."""


class AttributionTarget(NamedTuple):
    """A question about one answer."""

    weight_O: NDArray[np.float64]
    description: str
    """What the sum is, to end a sentence with."""
    offset: float = 0.0
    """What is added to the sum for it to be in the target's unit."""


class TargetScale(NamedTuple):
    """How a row's number was scaled."""

    mean: float
    std: float


def target_class(
    outputs_O: NDArray[np.float32], truth: int, classes: tuple[object, ...]
) -> AttributionTarget:
    """Ask what speaks for the answer against the true class; if right, against the runner-up."""
    order = np.argsort(-outputs_O, kind="stable")
    said, second = int(order[0]), int(order[1]) if len(order) > 1 else int(order[0])
    rival = truth if truth not in {said, -1} else second
    weight_O = np.zeros(len(outputs_O))
    weight_O[rival] = -1.0
    weight_O[said] = 1.0
    return AttributionTarget(weight_O, f"log odds of {classes[said]!s} against {classes[rival]!s}")


def target_tag(
    outputs_O: NDArray[np.float32], held_O: NDArray[np.bool_], labels: tuple[object, ...]
) -> AttributionTarget:
    """Ask about the label that is wrong for the surest, or else the one that is likeliest."""
    wrong_O = (outputs_O >= 0) != held_O
    asked = np.abs(outputs_O) if wrong_O.any() else outputs_O.astype(np.float64)
    label = int(np.where(wrong_O | ~wrong_O.any(), asked, -np.inf).argmax())
    weight_O = np.zeros(len(outputs_O))
    weight_O[label] = 1.0
    return AttributionTarget(weight_O, f"log odds of {labels[label]!s}")


def target_number(bundle: Bundle, outputs: int, scale: TargetScale) -> AttributionTarget:
    """Ask about a number, or the mean of a forecast's steps, in the target's unit."""
    target, window = bundle.featurizer.target, bundle.featurizer.layout.window
    parts, place = _count_parts(bundle.head)
    steps = outputs // parts
    weight_O = np.zeros(outputs)
    weight_O[place::parts] = scale.std / steps
    ahead = target.kind == "forecast" and window is not None
    words = f"mean of the next {steps} values of {target.column}" if ahead else target.column
    return AttributionTarget(weight_O, words, scale.mean)


def _count_parts(head: HeadConfig) -> tuple[int, int]:
    """Return how many numbers an answer has, and which of them is the answer itself."""
    if head.loss == "quantile":
        return len(head.quantiles), head.quantiles.index(0.5)
    return PARTS.get(head.loss, 1), 0
