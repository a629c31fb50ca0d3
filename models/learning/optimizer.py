"""AdamW (Loshchilov and Hutter 2019), with gradient clipping in the same fused kernel.

For a small network the usual three calls (zero_grad, clip, step) take a tenth of a step in Python
alone, so the lists that they build each time are stored here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from models.learning.config import TrainingConfig
from models.learning.fine_tuning import schedule_parts

BETAS = 0.9, 0.999
"""Decay rates of the moving averages of the gradients and of their squares."""
EPSILON = 1e-8
"""Added to the denominator."""
NORM_EPSILON = 1e-6
"""Added to the norm, as torch's `clip_grad_norm_` does."""


class Optimizer:
    """The trainable parameters, the moving averages of AdamW, and the last learning rate."""

    share_done: float = 1.0
    """Share of the planned steps that are done: the parts that begin later are not updated."""

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self.config, self.learning_rate = config, 0.0
        self.schedules = schedule_parts(network, pretrained=config.pretrain != "none")
        self.parameters = [weight for weight in network.parameters() if weight.requires_grad]
        self.means = [torch.zeros_like(weight) for weight in self.parameters]
        self.squares = [torch.zeros_like(weight) for weight in self.parameters]
        self.steps = [torch.zeros((), device=weight.device) for weight in self.parameters]

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for weight in self.parameters:
            weight.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the parameters with this learning rate, gradients clipped by norm.

        A parameter without a gradient is not changed.
        """
        self.learning_rate = learning_rate
        updated = [
            index
            for index, weight in enumerate(self.parameters)
            if weight.grad is not None and self.schedules[index].start <= self.share_done
        ]
        gradients = [self.parameters[index].grad for index in updated]
        clip_factor = _compute_clip_factor(
            [gradient for gradient in gradients if gradient is not None], self.config.max_grad_norm
        )
        for factor in dict.fromkeys(self.schedules[index].rate_factor for index in updated):
            chosen = [index for index in updated if self.schedules[index].rate_factor == factor]
            self._update(chosen, learning_rate * factor, clip_factor)

    def _update(self, indices: list[int], learning_rate: float, clip_factor: Tensor) -> None:
        """Update some of the parameters."""
        weights, means, squares, steps = (
            [tensors[index] for index in indices]
            for tensors in (self.parameters, self.means, self.squares, self.steps)
        )
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            means,
            squares,
            [],
            steps,
            fused=True,
            grad_scale=clip_factor,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=self.config.weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer."""
        return {"rate": self.learning_rate, **self.slots()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.learning_rate = state["rate"]
        for name, tensors in self.slots().items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)

    def slots(self) -> dict[str, list[Tensor]]:
        """Return the moving averages, and the number of updates of each parameter."""
        return {"means": self.means, "squares": self.squares, "steps": self.steps}


def _compute_clip_factor(gradients: list[Tensor], max_norm: float) -> Tensor:
    """Return the factor by which the total gradient norm exceeds `max_norm`, at least 1."""
    norm = nn.utils.get_total_norm(gradients)
    return ((norm + NORM_EPSILON) / max_norm).clamp_(min=1.0)
