"""What heads have in common: what they are given, and what they are asked.

Shapes: N steps of all sequences, B sequences, M numbers of all answers, H units, P of the pooling.
"""

from typing import NamedTuple

from torch import Tensor, nn

from models.networks.jagged import Offsets


class Encoded(NamedTuple):
    """What the network has read."""

    steps_NH: Tensor
    """The last layer's output at every step."""
    pooled_BP: Tensor
    """One vector a sequence, with what stands beside it."""
    offsets: Offsets
    taught_N: Tensor | None = None
    """Right answers of single steps, -1 where there is none; None where only wholes are taught."""


class Answers(NamedTuple):
    """The right answers of a batch, end to end, as their sequences are."""

    values_M: Tensor
    offsets: Offsets


class Head(nn.Module):
    """One kind of answer."""

    def forward(self, encoded: Encoded) -> Tensor:
        """Return the answers' numbers; which, the head says."""
        raise NotImplementedError

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean loss over the sequences, in float32 at least."""
        raise NotImplementedError
