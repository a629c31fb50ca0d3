"""Batches: which rows, in which order, gathered from the steps without a loop over rows.

Rows of like length go together, so that padding is small. The order depends on the seed and the
epoch alone, which is what lets a run resume in the middle of an epoch.
Shapes: N steps, C channels, S sequences, B sequences of a batch, M numbers of its answers.
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
from models.networks.heads.face import Answers
from models.networks.jagged import Offsets

POOL = 50
"""Batches whose rows are sorted by length together: large pools pad less, small ones mix more."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The sequences of one split, on the device."""

    values_NC: Tensor
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]
    """Where each lies in the steps; these two stay on the host."""
    targets_S: Tensor
    statics: Statics
    """What stands beside each sequence."""
    change: Callable[[Tensor], Tensor] | None = None
    """Alters the steps of a batch at random; given for training alone."""

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.starts_S)

    @property
    def lengths_S(self) -> NDArray[np.int64]:
        """Steps of each sequence."""
        return self.stops_S - self.starts_S


class Batch(NamedTuple):
    """Sequences end to end, and their answers."""

    values_NC: Tensor
    offsets: Offsets
    answers: Answers
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
            torch.from_numpy(array).to(device) for array in (values_NC, targets_S, codes, numbers)
        ]
    values, targets, *beside = arrays
    return SequenceSet(values, starts_S, stops_S, targets, Statics(*beside))


def gather(sequences: SequenceSet, rows: NDArray[np.int64]) -> Batch:
    """Lay the sequences of one batch end to end."""
    device = sequences.values_NC.device
    starts, stops = sequences.starts_S[rows], sequences.stops_S[rows]
    offsets = Offsets.of(stops - starts, device)
    index_N = offsets.to_device(starts[offsets.owners] + offsets.steps)
    values_NC = sequences.values_NC.index_select(0, index_N)
    rows_B = torch.from_numpy(rows).to(device)
    return Batch(
        values_NC=sequences.change(values_NC) if sequences.change else values_NC,
        offsets=offsets,
        answers=Answers(
            sequences.targets_S[rows_B], Offsets.of(np.ones(len(rows), np.int64), device)
        ),
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
