"""Naive predictions of self-supervised targets: each step by the training mean, or the last step.

Shapes: N steps of all sequences, S sequences, C channels of a step, V ids, P numbers of a vector.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.evaluation.baselines.features import SplitRows
from models.evaluation.baselines.fitted import FittedBaseline, Outputs
from models.networks.jagged import Offsets

NaivePrediction = Literal["mean", "last step"]

_ID_BUCKETS = 64
"""Numbers of the vector of ids: the shares of the ids, modulo this number."""


class NaiveErrors(FittedBaseline):
    """The error of a naive prediction of each sequence, and a vector of summary statistics."""

    kind = "errors"
    usual_C: Tensor

    def __init__(
        self,
        *,
        prediction: NaivePrediction,
        num_ids: int,
        has_last_step: bool,
        front: nn.Module | None = None,
    ) -> None:
        """Take the settings.

        Args:
            prediction: by which each step is predicted.
            num_ids: V, where a step is an id; 0 where it is numbers.
            has_last_step: whether a step may be predicted from the one before it.
            front: turns images into steps; None for other inputs.
        """
        super().__init__()
        self.prediction, self.num_ids, self.has_last_step = prediction, num_ids, has_last_step
        self.front = front
        self.register_buffer("usual_C", torch.zeros(0))

    def fit(self, rows: SplitRows) -> None:
        """Fit the mean, or the logarithm of the share of each id, on training rows."""
        steps_NC, _ = self._read_steps(rows)
        if not self.num_ids:
            self.register_buffer("usual_C", steps_NC.float().mean(dim=0))
            return
        counts_V = steps_NC[:, 0].long().bincount(minlength=self.num_ids) + 1.0
        self.register_buffer("usual_C", torch.log(counts_V / counts_V.sum()))

    @torch.no_grad()
    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the error, those of both naive predictions, and the vector, [S, 3 + P]."""
        steps_NC, offsets = self._read_steps(rows)
        mean_S = _average(self._compute_mean_errors(steps_NC), offsets)
        last_S = torch.full_like(mean_S, torch.nan)
        if self.has_last_step:
            last_S = _average(_compute_last_errors(steps_NC, offsets), offsets)
        own_S = mean_S if self.prediction == "mean" else last_S
        errors_S3 = torch.stack([own_S, mean_S, last_S], dim=1)
        vector_SP = self._summarize(steps_NC, offsets)
        return np.asarray(torch.cat([errors_S3, vector_SP], dim=1).numpy(), np.float32)

    @torch.no_grad()
    def compute_step_errors(self, rows: SplitRows) -> NDArray[np.float64]:
        """Return the error of each step, [N]."""
        steps_NC, offsets = self._read_steps(rows)
        if self.prediction == "mean":
            return np.asarray(self._compute_mean_errors(steps_NC).double().numpy())
        return np.asarray(_compute_last_errors(steps_NC, offsets).double().numpy())

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "prediction": self.prediction,
            "num_ids": self.num_ids,
            "has_last_step": self.has_last_step,
        }

    def _read_steps(self, rows: SplitRows) -> tuple[Tensor, Offsets]:
        """Return the steps of the sequences end to end, as they are predicted."""
        lengths_S = rows.stops_S - rows.starts_S
        edges = np.cumsum(lengths_S) - lengths_S
        index_N = np.repeat(rows.starts_S - edges, lengths_S) + np.arange(int(lengths_S.sum()))
        values_NC = torch.from_numpy(np.ascontiguousarray(rows.values_NC[index_N]))
        offsets = Offsets.from_lengths(lengths_S)
        if self.front is None:
            return values_NC, offsets
        steps_NC, steps = self.front(values_NC, offsets)
        return steps_NC, steps

    def _compute_mean_errors(self, steps_NC: Tensor) -> Tensor:
        """Return the error of the training mean at each step, [N]; of ids, in nats."""
        if self.num_ids:
            return -self.usual_C[steps_NC[:, 0].long()]
        return (self.usual_C - steps_NC.float()).square().mean(dim=1)

    def _summarize(self, steps_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return mean and standard deviation of each channel, or the shares of the ids, [S, P]."""
        if self.num_ids:
            buckets_NP = functional.one_hot(steps_NC[:, 0].long() % _ID_BUCKETS, _ID_BUCKETS)
            return _average(buckets_NP.float(), offsets)
        mean_SC = _average(steps_NC.float(), offsets)
        square_SC = _average(steps_NC.float().square(), offsets)
        return torch.cat([mean_SC, (square_SC - mean_SC.square()).clamp_min(0).sqrt()], dim=1)


def _compute_last_errors(steps_NC: Tensor, offsets: Offsets) -> Tensor:
    """Return the error of the step before each, [N]; that of zeros before the first."""
    before_NC = offsets.shift(steps_NC, 1).float()
    return (before_NC - steps_NC.float()).square().mean(dim=1)


def _average(values_N: Tensor, offsets: Offsets) -> Tensor:
    """Return the mean over the steps of each sequence, [S, ...]."""
    sums_S = values_N.new_zeros(len(offsets), *values_N.shape[1:])
    sums_S = sums_S.index_add(0, offsets.sequence_N, values_N)
    return sums_S / offsets.lengths_B.view(-1, *[1] * (values_N.dim() - 1))
