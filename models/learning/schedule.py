"""Step sizes: a warm-up, and what follows it."""

import math
from collections.abc import Sequence

from models.learning.config import TrainingConfig

WARMUP_SHARE = 0.05
FINAL_RATE = 0.05
"""Share of the highest rate that a cosine ends with."""
HALVED = 0.5


def learning_rate(
    done: int, config: TrainingConfig, *, height: float, total: int, losses: Sequence[float] = ()
) -> float:
    """Rise in a line for the first steps; then fall as the job says.

    A cosine falls over all steps (Loshchilov and Hutter 2017).

    Args:
        done: steps so far.
        config: with the schedule.
        height: the highest rate.
        total: steps that are planned.
        losses: of the validation, after each epoch so far.
    """
    warmup = max(1, round(total * WARMUP_SHARE))
    if done < warmup:
        return height * (done + 1) / warmup
    if config.schedule == "constant":
        return height
    if config.schedule == "plateau":
        return height * HALVED ** plateaus(losses, wait=max(1, config.patience // 2))
    share = (done - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return height * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def plateaus(losses: Sequence[float], *, wait: int) -> int:
    """Count how often so many epochs passed without a better loss."""
    found, best, since = 0, math.inf, 0
    for loss in losses:
        since = 0 if loss < best else since + 1
        best = min(best, loss)
        if since == wait:
            found, since = found + 1, 0
    return found
