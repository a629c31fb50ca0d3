"""Batches: which rows, in which order, gathered from the steps without a loop over rows.

Rows of like length go together, so that padding is small. The order depends on the seed and the
epoch alone, which is what lets a run resume in the middle of an epoch.
Shapes: N steps, C channels, S sequences, B sequences of a batch, T steps of the longest of them.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

POOL = 50
"""Batches whose rows are sorted by length together: large pools pad less, small ones mix more."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The sequences of one split, on the device."""

    values_NC: Tensor
    starts_S: Tensor
    stops_S: Tensor
    targets_S: Tensor

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.starts_S)

    @property
    def lengths_S(self) -> Tensor:
        """Steps of each sequence."""
        return self.stops_S - self.starts_S


class Batch(NamedTuple):
    """Padded sequences and their answers."""

    values_BTC: Tensor
    lengths_B: Tensor
    targets_B: Tensor


def to_device(
    values_NC: NDArray[np.float32],
    *,
    starts_S: NDArray[np.int64],
    stops_S: NDArray[np.int64],
    targets_S: NDArray[np.float32],
    device: torch.device,
) -> SequenceSet:
    """Hand arrays to torch without a copy on the CPU; memory-mapped steps stay on disk."""
    with warnings.catch_warnings():
        # The steps are mapped read-only and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        arrays = [torch.from_numpy(a) for a in (values_NC, starts_S, stops_S, targets_S)]
    return SequenceSet(*(array.to(device) for array in arrays))


def gather(sequences: SequenceSet, rows_B: Tensor) -> Batch:
    """Assemble one batch; behind a sequence's end its last step is repeated as padding."""
    starts_B, stops_B = sequences.starts_S[rows_B], sequences.stops_S[rows_B]
    lengths_B = stops_B - starts_B
    steps_T = torch.arange(int(lengths_B.max()), device=rows_B.device)
    index_BT = torch.minimum(starts_B[:, None] + steps_T, stops_B[:, None] - 1)
    flat = sequences.values_NC.index_select(0, index_BT.flatten())
    return Batch(
        values_BTC=flat.view(*index_BT.shape, -1),
        lengths_B=lengths_B,
        targets_B=sequences.targets_S[rows_B],
    )


def epoch_order(
    lengths_S: NDArray[np.int64], *, batch: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Draw the epoch's batches: every row once, rows of like length together."""
    draw = np.random.default_rng([seed, epoch])
    shuffled = draw.permutation(len(lengths_S))
    batches = []
    for start in range(0, len(shuffled), batch * POOL):
        pool = shuffled[start : start + batch * POOL]
        pool = pool[np.argsort(lengths_S[pool], kind="stable")]
        batches += [pool[cut : cut + batch] for cut in range(0, len(pool), batch)]
    return [batches[index] for index in draw.permutation(len(batches))]


def plain_order(lengths_S: NDArray[np.int64], *, batch: int) -> list[NDArray[np.int64]]:
    """Cut all rows into batches by length, for scoring."""
    by_length = np.argsort(lengths_S, kind="stable")
    return [by_length[cut : cut + batch] for cut in range(0, len(by_length), batch)]


def padding_share(lengths_S: NDArray[np.int64], batches: list[NDArray[np.int64]]) -> float:
    """Tell which part of the batches' steps is padding."""
    room = sum(int(lengths_S[rows].max()) * len(rows) for rows in batches)
    return 1.0 - float(lengths_S.sum()) / room
