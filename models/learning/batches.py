"""Batches: which rows, in which order, gathered from the steps without a loop over rows.

Rows of similar length are batched together, so that padding is small. The order depends only on the
seed and the epoch, so that a run can resume within an epoch.
Shapes: N steps, C channels, S sequences, B sequences of a batch, M numbers of all targets, O
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

from models.features.static_covariates import StaticCovariates
from models.networks.heads.base import Targets
from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets

POOL_BATCHES = 50
"""Batches whose rows are sorted by length together: larger pools pad less but shuffle less."""


class Spans(NamedTuple):
    """Start and stop of each sequence in a concatenated array; on the host."""

    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]

    @property
    def lengths_S(self) -> NDArray[np.int64]:
        """Length of each."""
        return self.stops_S - self.starts_S

    def select(self, rows: NDArray[np.int64]) -> "Spans":
        """Return these sequences."""
        return Spans(self.starts_S[rows], self.stops_S[rows])

    @property
    def index_N(self) -> NDArray[np.int64]:
        """Indices of all their elements, sequence after sequence, [N]."""
        lengths_S = self.lengths_S
        if _are_equal(lengths_S):
            return np.add.outer(self.starts_S, np.arange(lengths_S[0])).ravel()
        before_S = np.cumsum(lengths_S) - lengths_S
        index_N = np.arange(lengths_S.sum())
        index_N += np.repeat(self.starts_S - before_S, lengths_S)
        return index_N


Augmentation = Callable[[Tensor], Tensor]

NO_TARGETS = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The sequences of one split, on the device."""

    values_NC: Tensor
    spans: Spans
    """Of each sequence in the steps."""
    targets_M: Tensor
    """Numbers of all targets, concatenated."""
    target_spans: Spans
    """Of each sequence's target in them."""
    statics: StaticBatch
    """Static covariates of each sequence."""
    augmentation: Augmentation | None = None
    """Random change of the steps of a batch; for training only."""
    teacher_outputs_SO: Tensor | None = None
    """Outputs of the teacher, where the network is distilled from an ensemble."""

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.spans.starts_S)

    @property
    def lengths_S(self) -> NDArray[np.int64]:
        """Number of steps of each sequence, [S]."""
        return self.spans.lengths_S

    def select(self, rows: NDArray[np.int64]) -> "SequenceSet":
        """Return these sequences."""
        chosen = torch.from_numpy(rows).to(self.values_NC.device)
        return replace(
            self,
            spans=self.spans.select(rows),
            target_spans=self.target_spans.select(rows),
            statics=StaticBatch(*(values[chosen] for values in self.statics)),
            teacher_outputs_SO=None
            if self.teacher_outputs_SO is None
            else self.teacher_outputs_SO[chosen],
        )

    def select_targets(self, rows: NDArray[np.int64]) -> Targets:
        """Return the targets of these sequences."""
        chosen = self.target_spans.select(rows)
        index_M = torch.from_numpy(chosen.index_N).to(self.targets_M.device)
        return Targets(self.targets_M[index_M], chosen.lengths_S)


class EpochPlan(NamedTuple):
    """The rows of each step of an epoch."""

    steps: list[NDArray[np.int64]]
    buffer_starts: list[int]
    """Index of the first step of each buffer: the rows that are in memory at the same time."""

    def truncate(self, count: int) -> "EpochPlan":
        """Return only the first `count` steps."""
        return EpochPlan(
            self.steps[:count], [start for start in self.buffer_starts if start < count]
        )


class LoadedStep(NamedTuple):
    """Rows of one step, as indices into sequences that are in memory."""

    sequences: SequenceSet
    rows: NDArray[np.int64]


class Batch(NamedTuple):
    """Concatenated sequences and their targets."""

    values_NC: Tensor
    offsets: Offsets
    targets: Targets
    statics: StaticBatch
    teacher_outputs_BO: Tensor | None = None


def to_device(
    values_NC: NDArray[Any],
    spans: Spans,
    *,
    targets_M: NDArray[np.float32] = NO_TARGETS,
    target_spans: Spans | None = None,
    statics: StaticCovariates | None = None,
    device: torch.device,
    non_blocking: bool = False,
) -> SequenceSet:
    """Pass arrays to torch, without a copy on the CPU; memory-mapped steps stay on disk.

    Args:
        values_NC: the steps.
        spans: of the sequences in them.
        targets_M: numbers of all targets.
        target_spans: of the targets in them.
        statics: static covariates of each sequence.
        device: of everything but the spans.
        non_blocking: let a GPU copy them while the host goes on.
    """
    rows = len(spans.starts_S)
    codes, numbers = statics or (np.empty((rows, 0), np.int32), np.empty((rows, 0), np.float32))
    zeros_S = np.zeros(rows, np.int64)
    with warnings.catch_warnings():
        # The steps are mapped read-only and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        arrays = [
            _copy_to_device(array, device, non_blocking=non_blocking)
            for array in (values_NC, targets_M, codes, numbers)
        ]
    values, targets, *covariates = arrays
    return SequenceSet(
        values, spans, targets, target_spans or Spans(zeros_S, zeros_S), StaticBatch(*covariates)
    )


def gather(sequences: SequenceSet, rows: NDArray[np.int64]) -> Batch:
    """Concatenate the sequences of one batch, with their targets and static covariates."""
    device = sequences.values_NC.device
    values_NC, offsets = _concatenate_sequences(sequences.values_NC, sequences.spans.select(rows))
    rows_B = torch.from_numpy(rows).to(device)
    return Batch(
        values_NC=sequences.augmentation(values_NC) if sequences.augmentation else values_NC,
        offsets=offsets,
        targets=sequences.select_targets(rows),
        statics=StaticBatch(*(values.index_select(0, rows_B) for values in sequences.statics)),
        teacher_outputs_BO=None
        if sequences.teacher_outputs_SO is None
        else sequences.teacher_outputs_SO[rows_B],
    )


def draw_batches(
    lengths_S: NDArray[np.int64],
    *,
    batch: int,
    seed: int,
    epoch: int,
    probabilities_S: NDArray[np.float64] | None = None,
) -> list[NDArray[np.int64]]:
    """Draw the epoch's batches, rows of like length together.

    Args:
        lengths_S: of the sequences.
        batch: sequences in one.
        seed: of the job.
        epoch: counted from 0, so that each epoch has its own order.
        probabilities_S: probability of each row to be drawn; without it every row is drawn once.
    """
    generator, rows = np.random.default_rng([seed, epoch]), len(lengths_S)
    shuffled = (
        generator.permutation(rows)
        if probabilities_S is None
        else generator.choice(rows, rows, p=probabilities_S)
    )
    batches = []
    for start in range(0, rows, batch * POOL_BATCHES):
        pool = shuffled[start : start + batch * POOL_BATCHES]
        pool = pool[np.argsort(lengths_S[pool], kind="stable")]
        batches += [pool[cut : cut + batch] for cut in range(0, len(pool), batch)]
    return [batches[index] for index in generator.permutation(len(batches))]


def cut_batches(lengths_S: NDArray[np.int64], *, batch: int) -> list[NDArray[np.int64]]:
    """Cut all rows into batches by length, for prediction."""
    by_length = np.argsort(lengths_S, kind="stable")
    return [by_length[cut : cut + batch] for cut in range(0, len(by_length), batch)]


def compute_padding_share(lengths_S: NDArray[np.int64], batches: list[NDArray[np.int64]]) -> float:
    """Return the share of the batches' steps that is padding."""
    padded = sum(int(lengths_S[rows].max()) * len(rows) for rows in batches)
    return 1.0 - sum(int(lengths_S[rows].sum()) for rows in batches) / padded


def _are_equal(lengths_S: NDArray[np.int64]) -> bool:
    """Return whether there are sequences and all have the same length."""
    return len(lengths_S) > 0 and bool((lengths_S == lengths_S[0]).all())


def _copy_to_device(array: NDArray[Any], device: torch.device, *, non_blocking: bool) -> Tensor:
    """Copy an array to the device; with `non_blocking`, do not wait for a GPU's copy."""
    tensor = torch.from_numpy(array)
    if non_blocking and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _concatenate_sequences(values_NC: Tensor, spans: Spans) -> tuple[Tensor, Offsets]:
    """Concatenate the sequences of these spans, [N, C]; faster where all are equally long."""
    lengths_B, device = spans.lengths_S, values_NC.device
    if not _are_equal(lengths_B):
        offsets = Offsets.from_lengths(lengths_B, device)
        return values_NC.index_select(0, offsets.to_device(spans.index_N)), offsets
    steps, (total, channels) = int(lengths_B[0]), values_NC.shape
    shape = (total - steps + 1, steps, channels)
    starts_B = torch.from_numpy(spans.starts_S).to(device)
    windows_BTC = values_NC.as_strided(shape, (channels, channels, 1)).index_select(0, starts_B)
    return windows_BTC.flatten(0, 1), Offsets.from_equal_lengths(len(lengths_B), steps, device)
