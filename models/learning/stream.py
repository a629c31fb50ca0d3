"""Sequences that stay on disk: read block by block, the next while the loop learns from this one.

A block is a stretch of the steps' file. Each epoch draws the blocks in an order of its own, fills
a buffer with several of them, and mixes the rows of the buffer; rows of like length go together
inside it. Which row comes when depends on the seed and the epoch alone, as it does for sequences in
memory, so a run resumes in the middle of a buffer.

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

from models.features.static_covariates import Statics as SideValues
from models.learning.batches import POOL, Change, Drawn, Fed, Places, SequenceSet, to_device
from models.networks.heads.face import Answers

Integers = NDArray[np.int64]

BLOCK_BYTES = 2**21
"""Of a block: long enough to be read at a disk's full speed."""
MIXED = 32
"""Blocks in a buffer."""
GAP_BYTES = 2**16
"""Steps of no use that are read along, rather than read around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedSet:
    """The sequences of one split, on disk; what stands beside the steps is in memory."""

    values_NC: NDArray[Any]
    """The steps, mapped from a file."""
    places: Places
    answers_M: NDArray[np.float32]
    """The numbers of all answers, mapped too."""
    answer_places: Places
    statics: SideValues
    device: torch.device
    change: Change | None = None
    """Alters the steps of a batch at random; given for training alone."""
    advice_SO: torch.Tensor | None = None
    """What an ensemble answers, where a network learns from one; on the host."""
    block_bytes: int = BLOCK_BYTES
    mixed: int = MIXED

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.places.starts_S)

    @property
    def lengths_S(self) -> Integers:
        """Steps of each sequence."""
        return self.places.lengths_S

    def picked(self, rows: Integers) -> "StreamedSet":
        """Take these sequences."""
        return replace(
            self,
            places=self.places.pick(rows),
            answer_places=self.answer_places.pick(rows),
            statics=self.statics.pick(rows),
            advice_SO=self.advice(rows),
        )

    def advice(self, rows: Integers) -> torch.Tensor | None:
        """Take what an ensemble answers to these sequences."""
        return None if self.advice_SO is None else self.advice_SO[torch.from_numpy(rows)]

    @property
    def step_bytes(self) -> int:
        """How large a step is."""
        return max(1, int(self.values_NC[:1].nbytes))

    def answers(self, rows: Integers) -> Answers:
        """Take the answers of these sequences."""
        chosen = self.answer_places.pick(rows)
        return Answers(torch.from_numpy(self.answers_M[chosen.index_N]), chosen.lengths_S)

    def part(self, rows_K: Integers) -> SequenceSet:
        """Read these sequences, and nothing that lies far from them."""
        values, places = read_steps(self.values_NC, self.places.pick(rows_K), self.gap_steps)
        chosen = self.answer_places.pick(rows_K)
        lengths_K = chosen.lengths_S
        stops_K = np.cumsum(lengths_K)
        part = to_device(
            values,
            places,
            answers_M=np.asarray(self.answers_M[chosen.index_N]),
            answer_places=Places(stops_K - lengths_K, stops_K),
            statics=self.statics.pick(rows_K),
            device=self.device,
            ahead=True,
        )
        advice_KO = self.advice(rows_K)
        beside = None if advice_KO is None else advice_KO.to(self.device)
        return replace(part, change=self.change, advice_SO=beside)

    @property
    def gap_steps(self) -> int:
        """Steps of no use that are read along."""
        return min(GAP_BYTES, self.block_bytes) // self.step_bytes

    def blocks(self) -> tuple[list[Integers], Integers]:
        """Sort the rows into blocks by where they begin; give their steps, too, [G]."""
        size = max(1, self.block_bytes // self.step_bytes)
        order_S = np.argsort(self.places.starts_S, kind="stable")
        block_S = self.places.starts_S[order_S] // size
        cuts = np.flatnonzero(np.diff(block_S)) + 1
        rows = np.split(order_S, cuts)
        firsts, lasts = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(order_S)]]) - 1
        reach_S = np.maximum.accumulate(self.places.stops_S[order_S])
        return rows, reach_S[lasts] - self.places.starts_S[order_S][firsts]


def buffers(
    sequences: StreamedSet, draw: np.random.Generator | None, *, least: int
) -> list[Integers]:
    """Put blocks together until a buffer is full and holds the rows of a step.

    Args:
        sequences: on disk.
        draw: the order of the blocks; as they lie where left out.
        least: rows in a buffer, but where there are fewer in all.
    """
    blocks, steps_G = sequences.blocks()
    order = np.arange(len(blocks)) if draw is None else draw.permutation(len(blocks))
    room = sequences.mixed * max(1, sequences.block_bytes // sequences.step_bytes)
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


def draw_streamed(
    sequences: StreamedSet, *, unit: int, draw: np.random.Generator, shares_S: NDArray[Any] | None
) -> Drawn:
    """Draw the rows of each step of an epoch, buffer by buffer.

    There are as many steps as there would be in memory. Rows that are drawn by shares come from
    each buffer in proportion to the shares in it.
    """
    held = buffers(sequences, draw, least=unit)
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
            steps += mixed_steps(chosen, sequences.lengths_S, int(count), draw)
    return Drawn(steps, cuts)


def mixed_steps(
    shuffled: Integers, lengths_S: Integers, count: int, draw: np.random.Generator
) -> list[Integers]:
    """Cut shuffled rows into so many steps, of like length within pools."""
    bounds = np.linspace(0, len(shuffled), count + 1).astype(np.int64)
    steps = []
    for first in range(0, count, POOL):
        last = min(first + POOL, count)
        pool = shuffled[bounds[first] : bounds[last]]
        pool = pool[np.argsort(lengths_S[pool], kind="stable")]
        steps += np.split(pool, bounds[first + 1 : last] - bounds[first])
    return [steps[index] for index in draw.permutation(count)]


def plain_streamed(sequences: StreamedSet, *, batch: int) -> Drawn:
    """Cut all rows into batches, buffer by buffer and by length, for scoring."""
    steps: list[Integers] = []
    cuts: list[int] = []
    for rows in buffers(sequences, None, least=1):
        cuts.append(len(steps))
        by_length = rows[np.argsort(sequences.lengths_S[rows], kind="stable")]
        steps += [by_length[cut : cut + batch] for cut in range(0, len(by_length), batch)]
    return Drawn(steps, cuts)


def feed_streamed(sequences: StreamedSet, drawn: Drawn, *, first: int) -> Iterator[Fed]:
    """Give the steps from `first` on, each with the buffer that its rows are in."""
    ends = [*drawn.cuts[1:], len(drawn.steps)]
    spans = [
        range(max(start, first), stop)
        for start, stop in zip(drawn.cuts, ends, strict=True)
        if stop > first
    ]

    def read(span: range) -> tuple[SequenceSet, Integers]:
        rows_K = np.unique(np.concatenate([drawn.steps[step] for step in span]))
        return sequences.part(rows_K), rows_K

    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(read, spans[0]) if spans else None
        for place, span in enumerate(spans):
            assert coming is not None  # noqa: S101 - there is one for each span
            part, rows_K = coming.result()
            if place + 1 < len(spans):
                coming = reader.submit(read, spans[place + 1])
            for step in span:
                yield Fed(part, np.searchsorted(rows_K, drawn.steps[step]))


def read_steps(
    values_NC: NDArray[Any], places: Places, gap_steps: int
) -> tuple[NDArray[Any], Places]:
    """Read the steps of sequences in few stretches; tell where each lies in what was read.

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
    fill(room, values_NC, np.stack([from_G, to_G, at_G], axis=1))
    moved_K = (at_G - from_G)[np.searchsorted(from_G, places.starts_S, side="right") - 1]
    return room, Places(places.starts_S + moved_K, places.stops_S + moved_K)


def fill(room: NDArray[Any], values_NC: NDArray[Any], stretches_G3: Integers) -> None:
    """Copy stretches of the steps, [from, to, where], into the room."""
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
    """Read until the room is full.

    Raises:
        OSError: the file ends before.
    """
    done = 0
    while done < len(room):
        read = file.readinto(room[done:])
        if not read:
            raise OSError("the steps' file is shorter than it was")
        done += read
