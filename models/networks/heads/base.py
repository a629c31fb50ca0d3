"""Shared by all heads: the encoder's outputs, the targets, and the base class.

Shapes: N steps of all sequences, B sequences, M numbers of all targets, H units, P of the pooling,
C channels of a step, K columns of a forecast, O outputs of a head.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.jagged import Offsets


class Origin(NamedTuple):
    """Where a forecast starts, on the scale of its targets, for each column that is forecast."""

    last_BK: Tensor
    """The target's last known value; zeros where the input does not contain it."""
    level_BK: Tensor
    """Subtracted from the series (level)."""
    scale_BK: Tensor
    """By which the series is divided (scale)."""


DISTILLATION_TEMPERATURE = 2.0
"""By which logits are divided in distillation: softened probabilities also show which of the wrong
classes are nearly right (Hinton, Vinyals and Dean 2015)."""


class Encoded(NamedTuple):
    """The encoder's outputs for a batch."""

    steps_NH: Tensor
    """The last layer's output at every step."""
    pooled_BP: Tensor
    """One vector a sequence: poolings, parallel branch and static covariates."""
    offsets: Offsets
    node_targets_N: Tensor | None = None
    """Targets of single steps, -1 where there is none; None where only sequences have one."""
    input_steps_NC: Tensor | None = None
    """The input steps, for self-supervised heads: numbers, or ids in one channel."""
    origin: Origin | None = None


class Targets(NamedTuple):
    """The targets of a batch, concatenated; that of a sequence may be empty."""

    values_M: Tensor
    lengths: NDArray[np.int64]
    """Numbers of each sequence's target, on the host."""

    @property
    def sequence_M(self) -> Tensor:
        """Index of the sequence of each number."""
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return torch.from_numpy(owners).to(self.values_M.device)


class Head(nn.Module):
    """Base class: predictions and loss for one kind of target."""

    def forward(self, encoded: Encoded) -> Tensor:
        """Return the outputs, a row a sequence; each head defines its columns."""
        raise NotImplementedError

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean loss over the sequences, in float32 at least."""
        raise NotImplementedError

    def distillation_loss(self, encoded: Encoded, teacher_outputs_BO: Tensor) -> Tensor:
        """Return a loss for the distance to the outputs of other networks (distillation).

        Args:
            encoded: the encoder's outputs.
            teacher_outputs_BO: the other networks' outputs for the same sequences, as `forward`
                returns them.
        """
        raise NotImplementedError
