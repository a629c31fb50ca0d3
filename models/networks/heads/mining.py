"""Heads without an answer: what the network cannot foretell, or tell again, is unusual.

Shapes: N steps of all sequences, B sequences, C channels of a step or V ids, H units, P numbers of
the pooling.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cells.gru import Gru
from models.networks.heads.face import Answers, Encoded, Head


class Telling(nn.Module):
    """Says what a step is, and tells what that costs once the step itself is seen."""

    usual_C: Tensor
    """What training shows in the mean: of numbers the mean, of ids the logarithm of their share."""

    def __init__(self, units: int, *, channels: int, ids: int) -> None:
        """Make the layer.

        Args:
            units: numbers that it is said from.
            channels: numbers of a step.
            ids: V, where a step is an id; 0 where it is numbers.
        """
        super().__init__()
        self.ids = ids
        self.read = nn.Linear(units, ids or channels)
        self.register_buffer("usual_C", torch.zeros(ids or channels))

    def fit(self, seen_NC: Tensor) -> None:
        """Learn what is usual from training steps."""
        if self.ids:
            counts_V = seen_NC[:, 0].long().bincount(minlength=self.ids) + 1.0
            self.usual_C.copy_(torch.log(counts_V / counts_V.sum()))
        else:
            self.usual_C.copy_(seen_NC.float().mean(dim=0))

    def errors(self, units_NH: Tensor, seen_NC: Tensor, *, from_NC: Tensor | None = None) -> Tensor:
        """Return each step's error, [N]: squared, the mean over channels; of ids, in nats.

        Args:
            units_NH: what each step is said from.
            seen_NC: the steps.
            from_NC: numbers that what is said is added to.
        """
        said_NC: Tensor = self.read(units_NH).float()
        return self.cost(said_NC if from_NC is None else from_NC + said_NC, seen_NC)

    def usual_errors(self, seen_NC: Tensor) -> Tensor:
        """Return the error of saying always the same, [N]."""
        return self.cost(self.usual_C.expand(len(seen_NC), -1), seen_NC)

    def cost(self, said_NC: Tensor, seen_NC: Tensor) -> Tensor:
        """Return what each step costs, [N]."""
        if self.ids:
            return functional.cross_entropy(said_NC, seen_NC[:, 0].long(), reduction="none")
        return (said_NC - seen_NC.float()).square().mean(dim=1)


class MiningHead(Head):
    """An error for each sequence, and the vector that it was read as."""

    telling: Telling

    def units(self, encoded: Encoded) -> Tensor:
        """Return what each step is said from, [N, H]."""
        raise NotImplementedError

    def before(self, encoded: Encoded) -> Tensor | None:
        """Return the step before each, [N, C], where that may be used; zeros before the first."""
        del encoded
        return None

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, 3 + P]: the error, what naive answers would cost, then the vector.

        The naive answers are what is usual, and the step before (NaN where that is none).
        """
        seen_NC, before_NC = seen_in(encoded), self.before(encoded)
        if before_NC is None:
            before_N = torch.full_like(seen_NC[:, 0].float(), torch.nan)
        else:
            before_N = self.telling.cost(before_NC, seen_NC)
        naive = (self.telling.usual_errors(seen_NC), before_N)
        errors = [self.errors(encoded), *(mean_over(part_N, encoded) for part_N in naive)]
        return torch.cat([torch.stack(errors, dim=1), encoded.pooled_BP.float()], dim=1)

    def errors(self, encoded: Encoded) -> Tensor:
        """Return the mean error of each sequence's steps, [B]."""
        errors_N = self.telling.errors(
            self.units(encoded), seen_in(encoded), from_NC=self.before(encoded)
        )
        return mean_over(errors_N, encoded)

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean error over the sequences."""
        del answers
        return self.errors(encoded).mean()


def seen_in(encoded: Encoded) -> Tensor:
    """Return the steps that are told, [N, C]."""
    assert encoded.seen_NC is not None  # noqa: S101 - the network gives it to these heads
    return encoded.seen_NC


def mean_over(values_N: Tensor, encoded: Encoded) -> Tensor:
    """Return the mean over the steps of each sequence, [B]."""
    offsets = encoded.offsets
    zeros_B = values_N.new_zeros(len(offsets))
    return zeros_B.index_add(0, offsets.owner_N, values_N) / offsets.lengths_B


class NextStepHead(MiningHead):
    """Foretells each step from those before it; of numbers, how far it moves from the last."""

    def __init__(self, units: int, *, channels: int, ids: int) -> None:
        super().__init__()
        self.telling = Telling(units, channels=channels, ids=ids)

    def units(self, encoded: Encoded) -> Tensor:
        """Return what was read up to the step before; nothing before the first."""
        return encoded.offsets.shifted(encoded.steps_NH, 1)

    def before(self, encoded: Encoded) -> Tensor | None:
        """Return the step before each; None where steps are ids."""
        if self.telling.ids:
            return None
        return encoded.offsets.shifted(seen_in(encoded), 1).float()


class ReconstructionHead(MiningHead):
    """Tells the sequence again from its one vector, from its end (Srivastava et al. 2015).

    A gated cell begins from the vector, gets it again at every step, and says the last step first.
    """

    def __init__(self, pooled: int, *, hidden: int, channels: int, ids: int) -> None:
        super().__init__()
        self.start = nn.Linear(pooled, hidden)
        self.cell = Gru(pooled, hidden)
        self.telling = Telling(hidden, channels=channels, ids=ids)

    def units(self, encoded: Encoded) -> Tensor:
        """Return what each step is told from."""
        offsets, begun_BH = encoded.offsets, torch.tanh(self.start(encoded.pooled_BP))
        told_NH = self.cell.outputs(offsets.spread(encoded.pooled_BP), offsets, (begun_BH,))
        return offsets.mirrored(told_NH)
