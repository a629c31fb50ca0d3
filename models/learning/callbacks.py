"""Progress of a training for its callbacks, and the metric of its validation rows.

Shapes: S sequences of the validation, O outputs of the head.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class EpochResult(NamedTuple):
    """Results of one epoch."""

    epoch: int
    training_loss: float
    validation_loss: float
    metric: float | None = None
    """Of the validation predictions; None where none is measured, or it is undefined."""
    metric_name: str | None = None
    learning_rate: float = 0.0
    """Of the last step of the epoch."""
    padding_share: float = 0.0
    """Share of the computed steps that is padding."""


class StepResult(NamedTuple):
    """A step that was issued; a GPU may still be computing it."""

    done: int
    """Steps so far, over all epochs."""
    total: int
    """Planned steps."""
    sequences: int
    """In this step."""
    loss: Tensor
    """Mean over the sequences; reading it waits for the device."""


class Callbacks(NamedTuple):
    """Functions that are called after each epoch and each step."""

    on_epoch: Callable[[EpochResult], None]
    on_step: Callable[[StepResult], None] = lambda _: None
    pretraining: "Callbacks | None" = None
    """Those of the network that predicts the next step; None for none."""
    on_begin: Callable[[str], None] = lambda _: None
    """Called before the training of each network, with its name; empty for the only one."""


class ValidationMetric(NamedTuple):
    """A metric of the validation predictions."""

    name: str
    """Name of the metric."""
    higher_is_better: bool
    compute: Callable[[NDArray[np.float32]], float]
    """From the outputs for all validation sequences, in their order, [S, O], to the value."""
    stops_training: bool
    """Whether early stopping follows it rather than the loss."""


def score_epoch(epoch: EpochResult, metric: ValidationMetric | None) -> float:
    """Return the value that epochs are compared by; lower is better."""
    if metric is None or not metric.stops_training:
        return epoch.validation_loss
    if epoch.metric is None:
        return math.inf
    return -epoch.metric if metric.higher_is_better else epoch.metric


_RELIABLE_ROWS, _MIN_SHARE = 500, 0.4
"""Validation rows from which on a score is taken as it is, and the least share of a new one."""


def smooth_scores(
    history: Sequence[EpochResult], metric: ValidationMetric | None, *, rows: int
) -> list[float]:
    """Return the values that epochs are compared by, smoothed exponentially where rows are few.

    On few rows the best single value is a lucky one.

    Args:
        history: the epochs so far.
        metric: by which training stops, if not by the loss.
        rows: of the validation.
    """
    share = min(1.0, max(_MIN_SHARE, rows / _RELIABLE_ROWS))
    smoothed: list[float] = []
    for epoch in history:
        score = score_epoch(epoch, metric)
        before = smoothed[-1] if smoothed and math.isfinite(smoothed[-1]) else score
        smoothed.append(before + share * (score - before) if math.isfinite(score) else score)
    return smoothed
