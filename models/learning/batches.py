"""Batches: which rows, in which order, gathered from the steps without a loop over rows.

Rows of like length go together, so that padding is small. The order depends on the seed and the
epoch alone, which is what lets a run resume in the middle of an epoch.
Shapes: N steps, C channels, S sequences, B sequences of a batch, T steps of the longest of them.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.features.statics import Statics as SideValues
from models.networks.front import Statics

POOL = 50
"""Batches whose rows are sorted by length together: large pools pad less, small ones mix more."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The sequences of one split, on the device."""

    values_NC: Tensor
    starts_S: Tensor
    stops_S: Tensor
    targets_S: Tensor
    statics: Statics
    """What stands beside each sequence."""
    change: Callable[[Tensor], Tensor] | None = None
    """Alters the steps of a batch at random; given for training alone."""

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
    statics: Statics


def to_device(
    values_NC: NDArray[Any],
    *,
    starts_S: NDArray[np.int64],
    stops_S: NDArray[np.int64],
    targets_S: NDArray[np.float32],
    statics: SideValues | None = None,
    device: torch.device,
) -> SequenceSet:
    """Hand arrays to torch without a copy on the CPU; memory-mapped steps stay on disk."""
    rows = len(starts_S)
    codes, numbers = statics or (np.empty((rows, 0), np.int32), np.empty((rows, 0), np.float32))
    with warnings.catch_warnings():
        # The steps are mapped read-only and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        arrays = [
            torch.from_numpy(array).to(device)
            for array in (values_NC, starts_S, stops_S, targets_S, codes, numbers)
        ]
    values, starts, stops, targets, *beside = arrays
    return SequenceSet(values, starts, stops, targets, Statics(*beside))


def gather(sequences: SequenceSet, rows_B: Tensor) -> Batch:
    """Assemble one batch; behind a sequence's end its last step is repeated as padding."""
    starts_B, stops_B = sequences.starts_S[rows_B], sequences.stops_S[rows_B]
    lengths_B = stops_B - starts_B
    steps_T = torch.arange(int(lengths_B.max()), device=rows_B.device)
    index_BT = torch.minimum(starts_B[:, None] + steps_T, stops_B[:, None] - 1)
    flat = sequences.values_NC.index_select(0, index_BT.flatten())
    values_BTC = flat.view(*index_BT.shape, flat.shape[1])
    return Batch(
        values_BTC=sequences.change(values_BTC) if sequences.change else values_BTC,
        lengths_B=lengths_B,
        targets_B=sequences.targets_S[rows_B],
        statics=Statics(*(values[rows_B] for values in sequences.statics)),
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
