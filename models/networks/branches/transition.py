"""The next class by the last known one, for windows that read the past of their target.

A table of P(next class | last class), counted on the training rows. Each row of the table is
shrunk towards the shares of all classes by as many rows as make the rows that are left out, one
after the other, most probable (leave-one-out likelihood; a Dirichlet prior around the shares).

Shapes: B sequences, R rows, K classes of the last step and one for a class that is not known,
O classes, A candidates.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.branches.base import Branch, BranchSpec, SequenceBatch

_PRIOR_ROWS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
"""Rows by which the table is shrunk; the best of them is chosen."""

_SHARE_ROWS = 1.0
"""Rows that each class has in addition when its share is counted, so that none is impossible."""


class TransitionBranch(Branch):
    """A table of transitions between classes."""

    table_KO: Tensor
    channel_K: Tensor

    def __init__(self, spec: BranchSpec, *, label_channels: Sequence[int]) -> None:
        """Take the settings.

        Args:
            spec: what is predicted.
            label_channels: the channels of a step with its class, one for each class.
        """
        super().__init__(spec)
        self.register_buffer("channel_K", torch.tensor(label_channels, dtype=torch.int64))
        self.register_buffer("table_KO", torch.zeros(len(label_channels) + 1, spec.num_outputs))

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Fit nothing: the classes of a step are channels."""

    def compute_features(self, batch: SequenceBatch) -> Tensor:
        """Return the class of the last step one-hot, the last column for an unknown one, [B, K]."""
        last_BC = batch.values_NC[torch.from_numpy(batch.offsets.bounds[1:] - 1)]
        known_BK = last_BC[:, self.channel_K].float().cpu()
        return torch.cat([known_BK, 1 - known_BK.sum(dim=1, keepdim=True)], dim=1)

    def fit(self, features: Tensor, target_RO: NDArray[np.float64]) -> None:
        """Count the transitions, and shrink them."""
        next_RO = np.eye(self.spec.num_outputs)[target_RO[:, 0].astype(np.int64)]
        count_KO = features.double().numpy().T @ next_RO
        share_O = next_RO.sum(axis=0) + _SHARE_ROWS
        share_O /= share_O.sum()
        losses_A = [_measure_left_out(count_KO, share_O, rows) for rows in _PRIOR_ROWS]
        prior_KO = _PRIOR_ROWS[int(np.argmin(losses_A))] * share_O
        probability_KO = (count_KO + prior_KO) / (count_KO + prior_KO).sum(axis=1, keepdims=True)
        self.set_buffer("table_KO", torch.from_numpy(np.log(probability_KO).astype(np.float32)))

    def predict(self, features: Tensor) -> Tensor:
        """Return the log probabilities, [B, O]."""
        return features @ self.table_KO.cpu()


def _measure_left_out(
    count_KO: NDArray[np.float64], share_O: NDArray[np.float64], prior_rows: float
) -> float:
    """Return the log loss of all rows, each by a table without it."""
    total_K1 = count_KO.sum(axis=1, keepdims=True)
    left_KO = np.maximum(count_KO - 1, 0) + prior_rows * share_O
    log_KO = np.log(left_KO / (np.maximum(total_K1 - 1, 0) + prior_rows))
    return -float((count_KO * log_KO).sum())
