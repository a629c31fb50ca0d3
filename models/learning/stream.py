"""Streaming of sequences from disk: block by block, the next one read during training.

A block is a range of the file of steps. Each epoch draws the blocks in its own order, fills a
buffer with several of them, and shuffles the rows of the buffer; rows of similar length are batched
together. The order depends only on the seed and the epoch, as it does for sequences in memory, so
that a run can resume within a buffer.

Shapes: N steps, C channels, S sequences of the split, K sequences of a buffer, G blocks,
O outputs of a network.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.features.static_covariates import StaticCovariates
from models.learning.batches import (
    POOL_BATCHES,
    Augmentation,
    EpochPlan,
    LoadedStep,
    SequenceSet,
    Spans,
    to_device,
)
from models.networks.heads.base import Targets

Integers = NDArray[np.int64]

BLOCK_BYTES = 2**21
"""Size of a block: large enough to be read at the full speed of a disk."""
BUFFER_BLOCKS = 32
"""Blocks in a buffer."""
GAP_BYTES = 2**16
"""Gaps up to this size are read rather than skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSet:
    """The sequences of one split, on disk; static covariates are in memory."""

    values_NC: NDArray[Any]
    """Steps, memory-mapped."""
    spans: Spans
    targets_M: NDArray[np.float32]
    """Numbers of all targets, memory-mapped."""
    target_spans: Spans
    statics: StaticCovariates
    device: torch.device
    augmentation: Augmentation | None = None
    """Random change of the steps of a batch; for training only."""
    teacher_outputs_SO: torch.Tensor | None = None
    """Outputs of the teacher, where the network is distilled from an ensemble; on the host."""
    block_bytes: int = BLOCK_BYTES
    buffer_blocks: int = BUFFER_BLOCKS

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.spans.starts_S)

    @property
    def lengths_S(self) -> Integers:
        """Number of steps of each sequence, [S]."""
        return self.spans.lengths_S

    def select(self, rows: Integers) -> "StreamingSet":
        """Return these sequences."""
        return replace(
            self,
            spans=self.spans.select(rows),
            target_spans=self.target_spans.select(rows),
            statics=self.statics.select(rows),
            teacher_outputs_SO=self.select_teacher_outputs(rows),
        )

    def select_teacher_outputs(self, rows: Integers) -> torch.Tensor | None:
        """Return the outputs of the teacher for these sequences."""
        return (
            None
            if self.teacher_outputs_SO is None
            else self.teacher_outputs_SO[torch.from_numpy(rows)]
        )

    @property
    def step_bytes(self) -> int:
        """Bytes of one step."""
        return max(1, int(self.values_NC[:1].nbytes))

    def select_targets(self, rows: Integers) -> Targets:
        """Return the targets of these sequences."""
        chosen = self.target_spans.select(rows)
        return Targets(torch.from_numpy(self.targets_M[chosen.index_N]), chosen.lengths_S)

    def load(self, rows_K: Integers) -> SequenceSet:
        """Read these sequences into memory, skipping large gaps between them."""
        values, spans = _read_steps(self.values_NC, self.spans.select(rows_K), self.gap_steps)
        chosen = self.target_spans.select(rows_K)
        lengths_K = chosen.lengths_S
        stops_K = np.cumsum(lengths_K)
        part = to_device(
            values,
            spans,
            targets_M=np.asarray(self.targets_M[chosen.index_N]),
            target_spans=Spans(stops_K - lengths_K, stops_K),
            statics=self.statics.select(rows_K),
            device=self.device,
            non_blocking=True,
        )
        teacher_outputs_KO = self.select_teacher_outputs(rows_K)
        if teacher_outputs_KO is not None:
            teacher_outputs_KO = teacher_outputs_KO.to(self.device)
        return replace(part, augmentation=self.augmentation, teacher_outputs_SO=teacher_outputs_KO)

    @property
    def gap_steps(self) -> int:
        """Largest gap, in steps, that is read rather than skipped."""
        return min(GAP_BYTES, self.block_bytes) // self.step_bytes

    def list_blocks(self) -> tuple[list[Integers], Integers]:
        """Return the rows of each block, sorted by their starts, and its number of steps, [G]."""
        size = max(1, self.block_bytes // self.step_bytes)
        order_S = np.argsort(self.spans.starts_S, kind="stable")
        block_S = self.spans.starts_S[order_S] // size
        cuts = np.flatnonzero(np.diff(block_S)) + 1
        rows = np.split(order_S, cuts)
        firsts, lasts = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(order_S)]]) - 1
        max_stop_S = np.maximum.accumulate(self.spans.stops_S[order_S])
        return rows, max_stop_S[lasts] - self.spans.starts_S[order_S][firsts]


def draw_streaming_epoch(
    sequences: StreamingSet,
    *,
    sequences_per_step: int,
    generator: np.random.Generator,
    probabilities_S: NDArray[Any] | None,
) -> EpochPlan:
    """Draw the rows of each step of an epoch, buffer by buffer.

    There are as many steps as there would be in memory. Rows that are sampled by probability come
    from each buffer in proportion to its total probability.
    """
    buffers = _fill_buffers(sequences, generator, min_rows=sequences_per_step)
    totals = [
        len(rows) if probabilities_S is None else probabilities_S[rows].sum() for rows in buffers
    ]
    total = -(-len(sequences) // sequences_per_step)
    filled = np.cumsum(totals) / np.sum(totals) * len(sequences)
    ends = np.floor(filled / sequences_per_step + 1e-9).astype(np.int64)
    ends[-1] = total
    steps: list[Integers] = []
    buffer_starts: list[int] = []
    for rows, count in zip(buffers, np.diff(ends, prepend=0), strict=True):
        if count:
            buffer_starts.append(len(steps))
            chosen = generator.permutation(rows)
            if probabilities_S is not None:
                probabilities = probabilities_S[rows] / probabilities_S[rows].sum()
                chosen = generator.choice(rows, count * sequences_per_step, p=probabilities)
            steps += _cut_mixed_steps(chosen, sequences.lengths_S, int(count), generator)
    return EpochPlan(steps, buffer_starts)


def cut_streaming_batches(sequences: StreamingSet, *, batch: int) -> EpochPlan:
    """Cut all rows into batches, buffer by buffer and by length, for prediction."""
    steps: list[Integers] = []
    buffer_starts: list[int] = []
    for rows in _fill_buffers(sequences, None, min_rows=1):
        buffer_starts.append(len(steps))
        by_length = rows[np.argsort(sequences.lengths_S[rows], kind="stable")]
        steps += [by_length[cut : cut + batch] for cut in range(0, len(by_length), batch)]
    return EpochPlan(steps, buffer_starts)


def iterate_streaming(
    sequences: StreamingSet, plan: EpochPlan, *, first: int
) -> Iterator[LoadedStep]:
    """Yield the steps from `first` on, each with the buffer that contains its rows."""
    ends = [*plan.buffer_starts[1:], len(plan.steps)]
    spans = [
        range(max(start, first), stop)
        for start, stop in zip(plan.buffer_starts, ends, strict=True)
        if stop > first
    ]

    def read(span: range) -> tuple[SequenceSet, Integers]:
        rows_K = np.unique(np.concatenate([plan.steps[step] for step in span]))
        return sequences.load(rows_K), rows_K

    with ThreadPoolExecutor(1, "reader") as reader:
        pending = reader.submit(read, spans[0]) if spans else None
        for index, span in enumerate(spans):
            assert pending is not None  # noqa: S101 - there is one for each span
            part, rows_K = pending.result()
            if index + 1 < len(spans):
                pending = reader.submit(read, spans[index + 1])
            for step in span:
                yield LoadedStep(part, np.searchsorted(rows_K, plan.steps[step]))


def _fill_buffers(
    sequences: StreamingSet, generator: np.random.Generator | None, *, min_rows: int
) -> list[Integers]:
    """Return the rows of each buffer: blocks that fill it and have enough rows for a step.

    Args:
        sequences: on disk.
        generator: of the order of the blocks; file order without one.
        min_rows: smallest number of rows in a buffer.
    """
    blocks, steps_G = sequences.list_blocks()
    order = np.arange(len(blocks)) if generator is None else generator.permutation(len(blocks))
    capacity = sequences.buffer_blocks * max(1, sequences.block_bytes // sequences.step_bytes)
    buffers: list[list[Integers]] = []
    filled, rows = capacity, min_rows
    for block in order:
        if filled + steps_G[block] > capacity and rows >= min_rows:
            buffers.append([])
            filled = rows = 0
        buffers[-1].append(blocks[block])
        filled, rows = filled + int(steps_G[block]), rows + len(blocks[block])
    if rows < min_rows and len(buffers) > 1:
        rest = buffers.pop()
        buffers[-1] += rest
    return [np.concatenate(parts) for parts in buffers]


def _cut_mixed_steps(
    shuffled: Integers, lengths_S: Integers, count: int, generator: np.random.Generator
) -> list[Integers]:
    """Cut shuffled rows into `count` steps, sorted by length within pools."""
    bounds = np.linspace(0, len(shuffled), count + 1).astype(np.int64)
    steps = []
    for first in range(0, count, POOL_BATCHES):
        last = min(first + POOL_BATCHES, count)
        pool = shuffled[bounds[first] : bounds[last]]
        pool = pool[np.argsort(lengths_S[pool], kind="stable")]
        steps += np.split(pool, bounds[first + 1 : last] - bounds[first])
    return [steps[index] for index in generator.permutation(count)]


def _read_steps(
    values_NC: NDArray[Any], spans: Spans, gap_steps: int
) -> tuple[NDArray[Any], Spans]:
    """Read the steps of sequences in few ranges; return them and the spans of the sequences.

    Args:
        values_NC: all steps; those of a mapped file are read, not mapped: pages that were touched
            once would count as this process's memory.
        spans: of the sequences.
        gap_steps: largest gap between two sequences that is read along.
    """
    order_K = np.argsort(spans.starts_S, kind="stable")
    starts_K, max_stop_K = spans.starts_S[order_K], np.maximum.accumulate(spans.stops_S[order_K])
    begins = np.flatnonzero(starts_K[1:] > max_stop_K[:-1] + gap_steps) + 1
    firsts = np.concatenate([[0], begins])
    lasts = np.concatenate([begins, [len(starts_K)]]) - 1
    from_G, to_G = starts_K[firsts], max_stop_K[lasts]
    at_G = np.cumsum(to_G - from_G) - (to_G - from_G)
    buffer = np.empty((int((to_G - from_G).sum()), *values_NC.shape[1:]), values_NC.dtype)
    _copy_ranges(buffer, values_NC, np.stack([from_G, to_G, at_G], axis=1))
    moved_K = (at_G - from_G)[np.searchsorted(from_G, spans.starts_S, side="right") - 1]
    return buffer, Spans(spans.starts_S + moved_K, spans.stops_S + moved_K)


def _copy_ranges(buffer: NDArray[Any], values_NC: NDArray[Any], ranges_G3: Integers) -> None:
    """Copy ranges of the steps, [from, to, where], into the buffer."""
    name = getattr(values_NC, "filename", None)
    if name is None:
        for start, stop, at in ranges_G3:
            buffer[at : at + stop - start] = values_NC[start:stop]
        return
    assert isinstance(values_NC, np.memmap)  # noqa: S101 - it has a file
    one, flat = values_NC[:1].nbytes, buffer.reshape(-1).view(np.uint8).data
    with open(name, "rb", buffering=0) as file:  # noqa: PTH123 - of a name that NumPy keeps
        for start, stop, at in ranges_G3:
            file.seek(values_NC.offset + int(start) * one)
            _read_fully(file, flat[int(at) * one : int(at + stop - start) * one])


def _read_fully(file: Any, buffer: memoryview) -> None:  # noqa: ANN401 - a raw file
    """Read until the buffer is full.

    Raises:
        OSError: the file ends before.
    """
    done = 0
    while done < len(buffer):
        read = file.readinto(buffer[done:])
        if not read:
            raise OSError("the file of steps is shorter than it was")
        done += read
