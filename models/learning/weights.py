"""The weights that a network learns, and how a step moves them.

AdamW (Loshchilov and Hutter 2019) with its arithmetic, the clipping included, in one kernel. Beside
a small network the usual three calls (clear, clip, step) take a tenth of a step in Python alone,
so the lists that they make anew are kept here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from models.learning.config import TrainingConfig

FADING = 0.9, 0.999
"""What is kept of the mean of the gradients, and of their squares, from step to step."""
LEAST = 1e-8
"""Added to what is divided by."""
SPARE = 1e-6
"""Added to the norm, as `clip_grad_norm_` does it."""


class Weights:
    """What is learned of a network, all that the optimizer knows of it, and its last step size."""

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self.config, self.rate = config, 0.0
        self.learned = [weight for weight in network.parameters() if weight.requires_grad]
        self.means = [torch.zeros_like(weight) for weight in self.learned]
        self.squares = [torch.zeros_like(weight) for weight in self.learned]
        self.steps = [torch.zeros((), device=weight.device) for weight in self.learned]

    def clear(self) -> None:
        """Forget the gradients."""
        for weight in self.learned:
            weight.grad = None

    @torch.no_grad()
    def move(self, rate: float) -> None:
        """Take a step of this size against the gradients, whose norm is held below a bound.

        A weight that had no part in the loss stays as it is.
        """
        self.rate = rate
        known = zip(self.learned, self.means, self.squares, self.steps, strict=True)
        moved = [(*parts, parts[0].grad) for parts in known if parts[0].grad is not None]
        weights, means, squares, steps, slopes = (list(part) for part in zip(*moved, strict=True))
        adamw(
            weights,
            slopes,
            means,
            squares,
            [],
            steps,
            fused=True,
            grad_scale=excess(slopes, self.config.max_grad_norm),
            amsgrad=False,
            beta1=FADING[0],
            beta2=FADING[1],
            lr=rate,
            weight_decay=self.config.weight_decay,
            eps=LEAST,
            maximize=False,
        )

    def state(self) -> dict[str, Any]:
        """Tell what the optimizer knows."""
        return {"rate": self.rate, **self.known()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` told."""
        self.rate = state["rate"]
        for name, held in self.known().items():
            for mine, kept in zip(held, state[name], strict=True):
                mine.copy_(kept)

    def known(self) -> dict[str, list[Tensor]]:
        """Return the averages, and how many steps each weight has taken."""
        return {"means": self.means, "squares": self.squares, "steps": self.steps}


def excess(slopes: list[Tensor], bound: float) -> Tensor:
    """Return how many times too long all gradients together are; 1 where they are not."""
    norm = nn.utils.get_total_norm(slopes)
    return ((norm + SPARE) / bound).clamp_(min=1.0)
