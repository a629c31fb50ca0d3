"""What is told of a training while it goes on, and what is measured beside the loss.

Shapes: S sequences of the validation, O outputs of the head.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Epoch(NamedTuple):
    """What one epoch came to."""

    epoch: int
    training_loss: float
    validation_loss: float
    metric: float | None = None
    """Of the validation's answers; None where none is measured, or it cannot be told."""
    metric_name: str | None = None
    learning_rate: float = 0.0
    """At the epoch's last step."""
    padding_share: float = 0.0
    """Of the steps that were computed in training."""


class Step(NamedTuple):
    """That a step is done, which may not be computed yet."""

    done: int
    """Steps so far, of all epochs."""
    total: int
    """Steps that are planned."""
    sequences: int
    """That were read in this one."""
    loss: Tensor
    """Their mean; reading it waits for the device."""


class Watch(NamedTuple):
    """Who is told how training goes."""

    on_epoch: Callable[[Epoch], None]
    on_step: Callable[[Step], None] = lambda _: None


class Judge(NamedTuple):
    """What the validation's answers are measured by."""

    name: str
    """Of the metric."""
    more_is_better: bool
    measure: Callable[[NDArray[np.float32]], float]
    """From the outputs for all validation sequences, each in its place, [S, O]."""
    decides: bool
    """Whether training stops by it, rather than by the loss."""


def figure(epoch: Epoch, judge: Judge | None) -> float:
    """Give what decides how good an epoch was: less is better."""
    if judge is None or not judge.decides:
        return epoch.validation_loss
    if epoch.metric is None:
        return math.inf
    return -epoch.metric if judge.more_is_better else epoch.metric
