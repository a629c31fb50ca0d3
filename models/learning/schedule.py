"""Learning rate schedules: a linear warm-up, then constant, cosine or plateau."""

import math
from collections.abc import Sequence

from models.learning.config import TrainingConfig

WARMUP_SHARE = 0.05
FINAL_RATE = 0.05
"""Final learning rate of a cosine, as a share of the peak."""
HALVED = 0.5


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
        return peak * HALVED ** count_plateaus(losses, wait=max(1, config.patience // 2))
    share = (done - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return peak * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def count_plateaus(losses: Sequence[float], *, wait: int) -> int:
    """Return how often `wait` epochs passed without a better loss."""
    found, best, since = 0, math.inf, 0
    for loss in losses:
        since = 0 if loss < best else since + 1
        best = min(best, loss)
        if since == wait:
            found, since = found + 1, 0
    return found
