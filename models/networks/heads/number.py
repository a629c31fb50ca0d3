"""A number, with its spread where that is learned too.

Shapes: B sequences, P numbers of the pooling.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads import HeadConfig
from models.networks.heads.face import Answers, Encoded, Head

LEAST_SPREAD = 1e-3
"""Of the training answers' own spread: no answer is taken to be surer than that."""


class NumberHead(Head):
    """A scaled number; with `gaussian` errors its mean and spread (Nix and Weigend 1994)."""

    def __init__(self, inputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = 2 if config.error == "gaussian" else 1
        self.read = nn.Linear(inputs, self.outputs)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, 1], or [B, 2] with the spread behind the mean."""
        read_BO: Tensor = self.read(encoded.pooled_BP)
        if self.outputs == 1:
            return read_BO
        mean_B1, spread_B1 = read_BO.float().split(1, dim=1)
        return torch.cat([mean_B1, LEAST_SPREAD + functional.softplus(spread_B1)], dim=1)

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean error, on the scale of the training answers' spread."""
        outputs_BO = self(encoded).float()
        truth_B = answers.values_M.float()
        if self.config.error == "gaussian":
            variance_B = outputs_BO[:, 1].square()
            return functional.gaussian_nll_loss(outputs_BO[:, 0], truth_B, variance_B)
        if self.config.error == "absolute":
            return functional.l1_loss(outputs_BO[:, 0], truth_B)
        if self.config.error == "huber":
            return functional.huber_loss(outputs_BO[:, 0], truth_B)
        return functional.mse_loss(outputs_BO[:, 0], truth_B)
