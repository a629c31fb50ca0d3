"""Heads without a target: sequences that are hard to predict or to reconstruct are anomalous.

Shapes: N steps of all sequences, B sequences, C channels of a step or V ids, H units, P numbers of
the pooling.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cells.gru import Gru
from models.networks.heads.base import Encoded, Head, Targets


class _StepDecoder(nn.Module):
    """Predicts a step, and computes the error once the step is known."""

    usual_C: Tensor
    """The baseline from training: of numbers the mean, of ids the logarithm of their share."""

    def __init__(self, units: int, *, channels: int, ids: int) -> None:
        """Build the layer.

        Args:
            units: numbers that a step is predicted from.
            channels: numbers of a step.
            ids: V, where a step is an id; 0 where it is numbers.
        """
        super().__init__()
        self.ids = ids
        self.read = nn.Linear(units, ids or channels)
        self.register_buffer("usual_C", torch.zeros(ids or channels))

    def fit(self, steps_NC: Tensor) -> None:
        """Fit the baseline on training steps."""
        if self.ids:
            counts_V = steps_NC[:, 0].long().bincount(minlength=self.ids) + 1.0
            self.usual_C.copy_(torch.log(counts_V / counts_V.sum()))
        else:
            self.usual_C.copy_(steps_NC.float().mean(dim=0))

    def compute_errors(
        self, units_NH: Tensor, steps_NC: Tensor, *, from_NC: Tensor | None = None
    ) -> Tensor:
        """Return each step's error, [N]: squared, the mean over channels; of ids, in nats.

        Args:
            units_NH: what each step is predicted from.
            steps_NC: the steps.
            from_NC: numbers that the prediction is added to.
        """
        outputs_NC: Tensor = self.read(units_NH).float()
        return self.compute_cost(outputs_NC if from_NC is None else from_NC + outputs_NC, steps_NC)

    def compute_baseline_errors(self, steps_NC: Tensor) -> Tensor:
        """Return the error of the constant baseline, [N]."""
        return self.compute_cost(self.usual_C.expand(len(steps_NC), -1), steps_NC)

    def compute_cost(self, outputs_NC: Tensor, steps_NC: Tensor) -> Tensor:
        """Return the error of each step, [N]."""
        if self.ids:
            return functional.cross_entropy(outputs_NC, steps_NC[:, 0].long(), reduction="none")
        return (outputs_NC - steps_NC.float()).square().mean(dim=1)


class SelfSupervisedHead(Head):
    """An error for each sequence, and its encoded vector."""

    telling: _StepDecoder

    def compute_step_inputs(self, encoded: Encoded) -> Tensor:
        """Return what each step is predicted from, [N, H]."""
        raise NotImplementedError

    def get_previous_steps(self, encoded: Encoded) -> Tensor | None:
        """Return the step before each, [N, C], where that may be used; zeros before the first."""
        del encoded
        return None

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, 3 + P]: the error, the errors of two baselines, then the vector.

        The baselines are the training mean, and the step before (NaN where there is none).
        """
        steps_NC, before_NC = get_input_steps(encoded), self.get_previous_steps(encoded)
        if before_NC is None:
            before_N = torch.full_like(steps_NC[:, 0].float(), torch.nan)
        else:
            before_N = self.telling.compute_cost(before_NC, steps_NC)
        baselines = (self.telling.compute_baseline_errors(steps_NC), before_N)
        errors = [
            self.compute_errors(encoded),
            *(_mean_per_sequence(part_N, encoded) for part_N in baselines),
        ]
        return torch.cat([torch.stack(errors, dim=1), encoded.pooled_BP.float()], dim=1)

    def compute_errors(self, encoded: Encoded) -> Tensor:
        """Return the mean error of each sequence's steps, [B]."""
        errors_N = self.telling.compute_errors(
            self.compute_step_inputs(encoded),
            get_input_steps(encoded),
            from_NC=self.get_previous_steps(encoded),
        )
        return _mean_per_sequence(errors_N, encoded)

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean error over the sequences."""
        del targets
        return self.compute_errors(encoded).mean()


def get_input_steps(encoded: Encoded) -> Tensor:
    """Return the steps that are predicted, [N, C]."""
    assert encoded.input_steps_NC is not None  # noqa: S101 - the network gives it to these heads
    return encoded.input_steps_NC


class NextStepHead(SelfSupervisedHead):
    """Predicts each step from those before it; of numbers, the difference to the last."""

    def __init__(self, units: int, *, channels: int, ids: int) -> None:
        super().__init__()
        self.telling = _StepDecoder(units, channels=channels, ids=ids)

    def compute_step_inputs(self, encoded: Encoded) -> Tensor:
        """Return the encoder's output at the step before; zeros before the first."""
        return encoded.offsets.shift(encoded.steps_NH, 1)

    def get_previous_steps(self, encoded: Encoded) -> Tensor | None:
        """Return the step before each; None where steps are ids."""
        if self.telling.ids:
            return None
        return encoded.offsets.shift(get_input_steps(encoded), 1).float()


class ReconstructionHead(SelfSupervisedHead):
    """Reconstructs the sequence from its vector, in reverse (Srivastava et al. 2015).

    A GRU starts from the vector, gets it again at every step, and predicts the last step first.
    """

    def __init__(self, pooled: int, *, hidden: int, channels: int, ids: int) -> None:
        super().__init__()
        self.start = nn.Linear(pooled, hidden)
        self.cell = Gru(pooled, hidden)
        self.telling = _StepDecoder(hidden, channels=channels, ids=ids)

    def compute_step_inputs(self, encoded: Encoded) -> Tensor:
        """Return what each step is predicted from."""
        offsets, initial_BH = encoded.offsets, torch.tanh(self.start(encoded.pooled_BP))
        decoded_NH = self.cell.outputs(
            offsets.repeat_per_step(encoded.pooled_BP), offsets, (initial_BH,)
        )
        return offsets.reverse(decoded_NH)


def _mean_per_sequence(values_N: Tensor, encoded: Encoded) -> Tensor:
    """Return the mean over the steps of each sequence, [B]."""
    offsets = encoded.offsets
    zeros_B = values_N.new_zeros(len(offsets))
    return zeros_B.index_add(0, offsets.sequence_N, values_N) / offsets.lengths_B
