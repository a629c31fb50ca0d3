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

from models.features.static_covariates import StaticCovariates as SideValues
from models.learning.batches import (
    POOL,
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
"""Gaps up to this size are read along rather than skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSet:
    """The sequences of one split, on disk; static covariates are in memory."""

    values_NC: NDArray[Any]
    """Steps, memory-mapped."""
    spans: Spans
    targets_M: NDArray[np.float32]
    """Numbers of all targets, memory-mapped."""
    target_spans: Spans
    statics: SideValues
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
        values, places = read_steps(self.values_NC, self.spans.select(rows_K), self.gap_steps)
        chosen = self.target_spans.select(rows_K)
        lengths_K = chosen.lengths_S
        stops_K = np.cumsum(lengths_K)
        part = to_device(
            values,
            places,
            targets_M=np.asarray(self.targets_M[chosen.index_N]),
            target_spans=Spans(stops_K - lengths_K, stops_K),
            statics=self.statics.select(rows_K),
            device=self.device,
            non_blocking=True,
        )
        advice_KO = self.select_teacher_outputs(rows_K)
        beside = None if advice_KO is None else advice_KO.to(self.device)
        return replace(part, augmentation=self.augmentation, teacher_outputs_SO=beside)

    @property
    def gap_steps(self) -> int:
        """Largest gap, in steps, that is read along."""
        return min(GAP_BYTES, self.block_bytes) // self.step_bytes

    def blocks(self) -> tuple[list[Integers], Integers]:
        """Return the rows of each block, by where they begin, and the steps of each block, [G]."""
        size = max(1, self.block_bytes // self.step_bytes)
        order_S = np.argsort(self.spans.starts_S, kind="stable")
        block_S = self.spans.starts_S[order_S] // size
        cuts = np.flatnonzero(np.diff(block_S)) + 1
        rows = np.split(order_S, cuts)
        firsts, lasts = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(order_S)]]) - 1
        reach_S = np.maximum.accumulate(self.spans.stops_S[order_S])
        return rows, reach_S[lasts] - self.spans.starts_S[order_S][firsts]


def fill_buffers(
    sequences: StreamingSet, draw: np.random.Generator | None, *, least: int
) -> list[Integers]:
    """Return the rows of each buffer: blocks are added until it is full and holds a step's rows.

    Args:
        sequences: on disk.
        draw: generator of the order of the blocks; file order without one.
        least: smallest number of rows in a buffer.
    """
    blocks, steps_G = sequences.blocks()
    order = np.arange(len(blocks)) if draw is None else draw.permutation(len(blocks))
    room = sequences.buffer_blocks * max(1, sequences.block_bytes // sequences.step_bytes)
    found: list[list[Integers]] = []
    filled, rows = room, least
    for block in order:
        if filled + steps_G[block] > room and rows >= least:
            found.append([])
            filled = rows = 0
        found[-1].append(blocks[block])
        filled, rows = filled + int(steps_G[block]), rows + len(blocks[block])
    if rows < least and len(found) > 1:
        rest = found.pop()
        found[-1] += rest
    return [np.concatenate(held) for held in found]


def draw_streaming_epoch(
    sequences: StreamingSet, *, unit: int, draw: np.random.Generator, shares_S: NDArray[Any] | None
) -> EpochPlan:
    """Draw the rows of each step of an epoch, buffer by buffer.

    There are as many steps as there would be in memory. Rows that are sampled by probability come
    from each buffer in proportion to its total probability.
    """
    held = fill_buffers(sequences, draw, least=unit)
    masses = [len(rows) if shares_S is None else shares_S[rows].sum() for rows in held]
    total = -(-len(sequences) // unit)
    filled = np.cumsum(masses) / np.sum(masses) * len(sequences)
    ends = np.floor(filled / unit + 1e-9).astype(np.int64)
    ends[-1] = total
    steps: list[Integers] = []
    cuts: list[int] = []
    for rows, count in zip(held, np.diff(ends, prepend=0), strict=True):
        if count:
            cuts.append(len(steps))
            chosen = draw.permutation(rows)
            if shares_S is not None:
                share = shares_S[rows] / shares_S[rows].sum()
                chosen = draw.choice(rows, count * unit, p=share)
            steps += cut_mixed_steps(chosen, sequences.lengths_S, int(count), draw)
    return EpochPlan(steps, cuts)


def cut_mixed_steps(
    shuffled: Integers, lengths_S: Integers, count: int, draw: np.random.Generator
) -> list[Integers]:
    """Cut shuffled rows into `count` steps, sorted by length within pools."""
    bounds = np.linspace(0, len(shuffled), count + 1).astype(np.int64)
    steps = []
    for first in range(0, count, POOL):
        last = min(first + POOL, count)
        pool = shuffled[bounds[first] : bounds[last]]
        pool = pool[np.argsort(lengths_S[pool], kind="stable")]
        steps += np.split(pool, bounds[first + 1 : last] - bounds[first])
    return [steps[index] for index in draw.permutation(count)]


def cut_streaming_batches(sequences: StreamingSet, *, batch: int) -> EpochPlan:
    """Cut all rows into batches, buffer by buffer and by length, for prediction."""
    steps: list[Integers] = []
    cuts: list[int] = []
    for rows in fill_buffers(sequences, None, least=1):
        cuts.append(len(steps))
        by_length = rows[np.argsort(sequences.lengths_S[rows], kind="stable")]
        steps += [by_length[cut : cut + batch] for cut in range(0, len(by_length), batch)]
    return EpochPlan(steps, cuts)


def iterate_streaming(
    sequences: StreamingSet, drawn: EpochPlan, *, first: int
) -> Iterator[LoadedStep]:
    """Yield the steps from `first` on, each with the buffer that contains its rows."""
    ends = [*drawn.cuts[1:], len(drawn.steps)]
    spans = [
        range(max(start, first), stop)
        for start, stop in zip(drawn.cuts, ends, strict=True)
        if stop > first
    ]

    def read(span: range) -> tuple[SequenceSet, Integers]:
        rows_K = np.unique(np.concatenate([drawn.steps[step] for step in span]))
        return sequences.load(rows_K), rows_K

    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(read, spans[0]) if spans else None
        for place, span in enumerate(spans):
            assert coming is not None  # noqa: S101 - there is one for each span
            part, rows_K = coming.result()
            if place + 1 < len(spans):
                coming = reader.submit(read, spans[place + 1])
            for step in span:
                yield LoadedStep(part, np.searchsorted(rows_K, drawn.steps[step]))


def read_steps(
    values_NC: NDArray[Any], places: Spans, gap_steps: int
) -> tuple[NDArray[Any], Spans]:
    """Read the steps of sequences in few ranges; return them and the spans of the sequences.

    Args:
        values_NC: all steps; those of a mapped file are read, not mapped: pages that were touched
            once would count as this process's memory.
        places: of the sequences.
        gap_steps: steps of no use that are read along.
    """
    order_K = np.argsort(places.starts_S, kind="stable")
    starts_K, reach_K = places.starts_S[order_K], np.maximum.accumulate(places.stops_S[order_K])
    begins = np.flatnonzero(starts_K[1:] > reach_K[:-1] + gap_steps) + 1
    firsts = np.concatenate([[0], begins])
    lasts = np.concatenate([begins, [len(starts_K)]]) - 1
    from_G, to_G = starts_K[firsts], reach_K[lasts]
    at_G = np.cumsum(to_G - from_G) - (to_G - from_G)
    room = np.empty((int((to_G - from_G).sum()), *values_NC.shape[1:]), values_NC.dtype)
    copy_stretches(room, values_NC, np.stack([from_G, to_G, at_G], axis=1))
    moved_K = (at_G - from_G)[np.searchsorted(from_G, places.starts_S, side="right") - 1]
    return room, Spans(places.starts_S + moved_K, places.stops_S + moved_K)


def copy_stretches(room: NDArray[Any], values_NC: NDArray[Any], stretches_G3: Integers) -> None:
    """Copy ranges of the steps, [from, to, where], into the buffer."""
    name = getattr(values_NC, "filename", None)
    if name is None:
        for start, stop, at in stretches_G3:
            room[at : at + stop - start] = values_NC[start:stop]
        return
    assert isinstance(values_NC, np.memmap)  # noqa: S101 - it has a file
    one, flat = values_NC[:1].nbytes, room.reshape(-1).view(np.uint8).data
    with open(name, "rb", buffering=0) as file:  # noqa: PTH123 - of a name that NumPy keeps
        for start, stop, at in stretches_G3:
            file.seek(values_NC.offset + int(start) * one)
            read_whole(file, flat[int(at) * one : int(at + stop - start) * one])


def read_whole(file: Any, room: memoryview) -> None:  # noqa: ANN401 - a raw file
    """Read until the buffer is full.

    Raises:
        OSError: the file ends before.
    """
    done = 0
    while done < len(room):
        read = file.readinto(room[done:])
        if not read:
            raise OSError("the file of steps is shorter than it was")
        done += read
