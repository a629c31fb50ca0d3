"""What heads have in common: what they are given, and what they are asked.

Shapes: N steps of all sequences, B sequences, M numbers of all answers, H units, P of the pooling,
C channels of a step, O numbers of an answer.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.jagged import Offsets


class Origin(NamedTuple):
    """From where a forecast starts, on the scale of its answers."""

    last_B: Tensor
    """The answer's last known value; zeros where the input does not show it."""
    level_B: Tensor
    """What the forecast is measured from."""
    scale_B: Tensor
    """What it is measured in."""


SOFTNESS = 2.0
"""By what scores are divided where one network learns from others: a softer answer also tells which
of the wrong ones are nearly right (Hinton, Vinyals and Dean 2015)."""


class Encoded(NamedTuple):
    """What the network has read."""

    steps_NH: Tensor
    """The last layer's output at every step."""
    pooled_BP: Tensor
    """One vector a sequence, with what stands beside it."""
    offsets: Offsets
    taught_N: Tensor | None = None
    """Right answers of single steps, -1 where there is none; None where only wholes are taught."""
    seen_NC: Tensor | None = None
    """The steps themselves, for heads that tell them again: numbers, or ids in one channel."""
    origin: Origin | None = None


class Answers(NamedTuple):
    """The right answers of a batch, end to end; one may be empty."""

    values_M: Tensor
    lengths: NDArray[np.int64]
    """Numbers of each sequence's answer, on the host."""

    @property
    def owner_M(self) -> Tensor:
        """To which sequence each number belongs."""
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return torch.from_numpy(owners).to(self.values_M.device)


class Head(nn.Module):
    """One kind of answer."""

    def forward(self, encoded: Encoded) -> Tensor:
        """Return the answers' numbers, a row a sequence; which, the head says."""
        raise NotImplementedError

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean loss over the sequences, in float32 at least."""
        raise NotImplementedError

    def unlike(self, encoded: Encoded, advice_BO: Tensor) -> Tensor:
        """Return how far the answers are from those of other networks, as a loss to learn by.

        Args:
            encoded: what was read.
            advice_BO: answers to the same sequences, as `forward` gives them.
        """
        raise NotImplementedError
