"""Learning rate schedules: a linear warm-up, then constant, cosine or plateau."""

import math
from collections.abc import Sequence

from models.learning.config import TrainingConfig

WARMUP_SHARE = 0.05
"""Share of the planned steps over which the learning rate rises linearly to its peak."""
FINAL_RATE_SHARE = 0.05
"""Final learning rate of a cosine, as a share of the peak."""
PLATEAU_FACTOR = 0.5
"""By which the learning rate is multiplied after each plateau."""


def compute_learning_rate(
    done: int, config: TrainingConfig, *, peak: float, total: int, losses: Sequence[float] = ()
) -> float:
    """Return the learning rate of a step; cosine after Loshchilov and Hutter (2017).

    Args:
        done: finished steps.
        config: with the schedule.
        peak: learning rate after the warm-up.
        total: planned steps.
        losses: of the validation, after each epoch so far.
    """
    warmup = max(1, round(total * WARMUP_SHARE))
    if done < warmup:
        return peak * (done + 1) / warmup
    if config.schedule == "constant":
        return peak
    if config.schedule == "plateau":
        return peak * PLATEAU_FACTOR ** count_plateaus(
            losses, patience=max(1, config.patience_epochs // 2)
        )
    share = (done - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return peak * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * cosine)


def count_plateaus(losses: Sequence[float], *, patience: int) -> int:
    """Return how often `wait` epochs passed without a better loss."""
    plateaus, best, waited = 0, math.inf, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus
