"""The facts of a pretraining, which the facts of the networks that start from it contain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingFacts:
    """Front and layers of a network that were trained to predict the next step."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    rows: int
    """Rows that were learned from."""
    held_out_rows: int
    """Rows of the training split that decided when to stop."""
    start: str
    """What it began with, such as `random weights`."""
    metric: str
    """`perplexity` of tokens, the exponential of the mean loss in nats; `mse` of numbers."""
    value: float
    """On the held-out rows, in the best epoch."""
    steps: int
    """Optimizer steps that were taken."""
    epochs: int
    best_epoch: int
    """From 1."""
    training_losses: Sequence[float]
    """Of each epoch, with the penalties of the outputs; of a large vocabulary, by a sample."""
    values: Sequence[float]
    """Of the metric, in each epoch."""
    plan: Mapping[str, bool | int | float | str | None]
    """What was measured before, as in `TrainingPlan`."""
    seconds: float
