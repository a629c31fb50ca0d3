"""Batches: which rows, in which order, gathered from the steps without a loop over rows.

Rows of like length go together, so that padding is small. The order depends on the seed and the
epoch alone, which is what lets a run resume in the middle of an epoch.
Shapes: N steps, C channels, S sequences, B sequences of a batch, M numbers of its answers, O
outputs of a network.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.features.static_covariates import Statics as SideValues
from models.networks.heads.face import Answers
from models.networks.inputs.front import Statics
from models.networks.jagged import Offsets

POOL = 50
"""Batches whose rows are sorted by length together: large pools pad less, small ones mix more."""


class Places(NamedTuple):
    """Where sequences lie in what is laid end to end; on the host."""

    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]

    @property
    def lengths_S(self) -> NDArray[np.int64]:
        """How long each is."""
        return self.stops_S - self.starts_S

    def pick(self, rows: NDArray[np.int64]) -> "Places":
        """Take these sequences."""
        return Places(self.starts_S[rows], self.stops_S[rows])

    @property
    def index_N(self) -> NDArray[np.int64]:
        """The places of all their parts, sequence after sequence."""
        lengths_S = self.lengths_S
        if is_even(lengths_S):
            return np.add.outer(self.starts_S, np.arange(lengths_S[0])).ravel()
        before_S = np.cumsum(lengths_S) - lengths_S
        index_N = np.arange(lengths_S.sum())
        index_N += np.repeat(self.starts_S - before_S, lengths_S)
        return index_N


def is_even(lengths_S: NDArray[np.int64]) -> bool:
    """Tell whether there are sequences, all equally long."""
    return len(lengths_S) > 0 and bool((lengths_S == lengths_S[0]).all())


Change = Callable[[Tensor], Tensor]

NO_ANSWERS = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The sequences of one split, on the device."""

    values_NC: Tensor
    places: Places
    """Where each lies in the steps."""
    answers_M: Tensor
    """The numbers of all answers."""
    answer_places: Places
    """Where the numbers of each sequence's answer lie in them."""
    statics: Statics
    """What stands beside each sequence."""
    change: Change | None = None
    """Alters the steps of a batch at random; given for training alone."""
    advice_SO: Tensor | None = None
    """What an ensemble answers, where a network learns from one."""

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.places.starts_S)

    @property
    def lengths_S(self) -> NDArray[np.int64]:
        """Steps of each sequence."""
        return self.places.lengths_S

    def picked(self, rows: NDArray[np.int64]) -> "SequenceSet":
        """Take these sequences."""
        chosen = torch.from_numpy(rows).to(self.values_NC.device)
        return replace(
            self,
            places=self.places.pick(rows),
            answer_places=self.answer_places.pick(rows),
            statics=Statics(*(values[chosen] for values in self.statics)),
            advice_SO=None if self.advice_SO is None else self.advice_SO[chosen],
        )

    def answers(self, rows: NDArray[np.int64]) -> Answers:
        """Take the answers of these sequences."""
        chosen = self.answer_places.pick(rows)
        index_M = torch.from_numpy(chosen.index_N).to(self.answers_M.device)
        return Answers(self.answers_M[index_M], chosen.lengths_S)


class Drawn(NamedTuple):
    """The rows of each step, in their order."""

    steps: list[NDArray[np.int64]]
    cuts: list[int]
    """The first step of each part of the rows that is in memory at once."""

    def until(self, count: int) -> "Drawn":
        """Leave out the steps behind the first so many."""
        return Drawn(self.steps[:count], [cut for cut in self.cuts if cut < count])


class Fed(NamedTuple):
    """One step's rows, and the sequences whose rows they are."""

    sequences: SequenceSet
    rows: NDArray[np.int64]


class Batch(NamedTuple):
    """Sequences end to end, and their answers."""

    values_NC: Tensor
    offsets: Offsets
    answers: Answers
    statics: Statics
    advice_BO: Tensor | None = None


def to_device(
    values_NC: NDArray[Any],
    places: Places,
    *,
    answers_M: NDArray[np.float32] = NO_ANSWERS,
    answer_places: Places | None = None,
    statics: SideValues | None = None,
    device: torch.device,
    ahead: bool = False,
) -> SequenceSet:
    """Hand arrays to torch without a copy on the CPU; memory-mapped steps stay on disk.

    Args:
        values_NC: the steps.
        places: of the sequences in them.
        answers_M: the numbers of all answers.
        answer_places: of the answers in them.
        statics: what stands beside each sequence.
        device: where all but the places are wanted.
        ahead: let a GPU copy them while the host goes on.
    """
    rows = len(places.starts_S)
    codes, numbers = statics or (np.empty((rows, 0), np.int32), np.empty((rows, 0), np.float32))
    nowhere = np.zeros(rows, np.int64)
    with warnings.catch_warnings():
        # The steps are mapped read-only and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        arrays = [
            handed(array, device, ahead=ahead) for array in (values_NC, answers_M, codes, numbers)
        ]
    values, answers, *beside = arrays
    return SequenceSet(
        values, places, answers, answer_places or Places(nowhere, nowhere), Statics(*beside)
    )


def handed(array: NDArray[Any], device: torch.device, *, ahead: bool) -> Tensor:
    """Hand an array to a device; `ahead` does not wait for the copy."""
    tensor = torch.from_numpy(array)
    if ahead and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def gather(sequences: SequenceSet, rows: NDArray[np.int64]) -> Batch:
    """Lay the sequences of one batch end to end."""
    device = sequences.values_NC.device
    values_NC, offsets = end_to_end(sequences.values_NC, sequences.places.pick(rows))
    rows_B = torch.from_numpy(rows).to(device)
    return Batch(
        values_NC=sequences.change(values_NC) if sequences.change else values_NC,
        offsets=offsets,
        answers=sequences.answers(rows),
        statics=Statics(*(values.index_select(0, rows_B) for values in sequences.statics)),
        advice_BO=None if sequences.advice_SO is None else sequences.advice_SO[rows_B],
    )


def end_to_end(values_NC: Tensor, places: Places) -> tuple[Tensor, Offsets]:
    """Copy sequences out of their steps: each as a whole, where all are equally long."""
    lengths_B, device = places.lengths_S, values_NC.device
    if not is_even(lengths_B):
        offsets = Offsets.of(lengths_B, device)
        return values_NC.index_select(0, offsets.to_device(places.index_N)), offsets
    steps, (total, channels) = int(lengths_B[0]), values_NC.shape
    room = (total - steps + 1, steps, channels)
    starts_B = torch.from_numpy(places.starts_S).to(device)
    windows_BTC = values_NC.as_strided(room, (channels, channels, 1)).index_select(0, starts_B)
    return windows_BTC.flatten(0, 1), Offsets.even(len(lengths_B), steps, device)


def epoch_order(
    lengths_S: NDArray[np.int64],
    *,
    batch: int,
    seed: int,
    epoch: int,
    shares_S: NDArray[np.float64] | None = None,
) -> list[NDArray[np.int64]]:
    """Draw the epoch's batches, rows of like length together.

    Args:
        lengths_S: of the sequences.
        batch: sequences in one.
        seed: of the job.
        epoch: counted from 0.
        shares_S: chance of each row to be drawn next; every row once where left out.
    """
    draw, rows = np.random.default_rng([seed, epoch]), len(lengths_S)
    once = shares_S is None
    shuffled = draw.permutation(rows) if once else draw.choice(rows, rows, p=shares_S)
    batches = []
    for start in range(0, rows, batch * POOL):
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
    return 1.0 - sum(int(lengths_S[rows].sum()) for rows in batches) / room
