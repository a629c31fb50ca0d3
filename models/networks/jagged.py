"""Batches of sequences laid end to end: `values [N, C]`, and where each sequence begins and ends.

Everything between features and head is computed on the N real steps, so that there is no padding
that could change an answer. What needs a grid of steps by sequences (a fused kernel, a softmax
over steps) makes one here and leaves it at once.

Shapes: N steps of all sequences, B sequences, T steps of the longest, C channels. Grids are
time-major, [T, B, C].
"""

from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Offsets:
    """Where the sequences of a batch lie in its steps. No sequence is empty."""

    def __init__(self, bounds_B1: Tensor) -> None:
        """Take the bounds: sequence b is steps bounds[b] to bounds[b + 1].

        Raises:
            ValueError: a sequence is empty, or the first does not begin at 0.
        """
        bounds = bounds_B1.cpu().numpy().astype(np.int64)
        if bounds[0] != 0 or (np.diff(bounds) < 1).any():
            raise ValueError(f"offsets: {bounds.tolist()} do not rise from 0, step by step")
        self.bounds, self.device = bounds, bounds_B1.device

    @classmethod
    def of(cls, lengths_B: NDArray[Any] | list[int], device: torch.device | None = None) -> Self:
        """Lay sequences of these lengths end to end."""
        offsets = cls(torch.from_numpy(np.concatenate([[0], np.cumsum(lengths_B)])))
        offsets.device = device or torch.device("cpu")
        return offsets

    @classmethod
    @lru_cache(maxsize=8)
    def even(cls, count: int, steps: int, device: torch.device) -> Self:
        """Lay sequences of one length end to end; what is worked out of them is kept."""
        return cls.of(np.full(count, steps), device)

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.bounds) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each sequence, on the host."""
        return np.diff(self.bounds)

    @property
    def total(self) -> int:
        """Steps of all sequences."""
        return int(self.bounds[-1])

    @cached_property
    def longest(self) -> int:
        """Steps of the longest sequence."""
        return int(self.lengths.max())

    @cached_property
    def uniform(self) -> bool:
        """Whether all are equally long, so that a grid costs nothing."""
        return self.total == self.longest * len(self)

    def to_device(self, array: NDArray[Any]) -> Tensor:
        """Hand an array of indices to the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    @cached_property
    def lengths_B(self) -> Tensor:
        """Steps of each sequence."""
        return self.to_device(self.lengths)

    @cached_property
    def first_B(self) -> Tensor:
        """Where each sequence begins."""
        return self.to_device(self.bounds[:-1])

    @cached_property
    def last_B(self) -> Tensor:
        """Where each sequence's last step lies."""
        return self.to_device(self.bounds[1:] - 1)

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """To which sequence each step belongs, on the host."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def owner_N(self) -> Tensor:
        """To which sequence each step belongs."""
        return self.to_device(self.owners)

    @cached_property
    def steps(self) -> NDArray[np.int64]:
        """How many steps of its sequence lie before each step, on the host."""
        return np.arange(self.total) - self.bounds[self.owners]

    @cached_property
    def step_N(self) -> Tensor:
        """How many steps of its sequence lie before each step."""
        return self.to_device(self.steps)

    @cached_property
    def slot_N(self) -> Tensor:
        """Where each step lies in a flattened grid."""
        return self.to_device(self.steps * len(self) + self.owners)

    @cached_property
    def mirror_N(self) -> Tensor:
        """Which step comes in each step's place when every sequence is read from its end."""
        ends = (self.bounds[:-1] + self.bounds[1:] - 1)[self.owners]
        return self.to_device(ends - np.arange(self.total))

    @cached_property
    def valid_TB(self) -> Tensor:
        """Which places of a grid hold a step."""
        return torch.arange(self.longest, device=self.device)[:, None] < self.lengths_B

    def grid(self, values_NC: Tensor, *, fill: float = 0.0) -> Tensor:
        """Stand the sequences side by side, [T, B, ...]; `fill` where one has ended."""
        rest = values_NC.shape[1:]
        if self.uniform:
            return values_NC.reshape(len(self), self.longest, *rest).transpose(0, 1)
        room = values_NC.new_full((self.longest * len(self), *rest), fill)
        return room.index_copy(0, self.slot_N, values_NC).view(self.longest, len(self), *rest)

    def flat(self, grid_TBC: Tensor) -> Tensor:
        """Lay the sequences of a grid end to end again, [N, ...]."""
        if self.uniform:
            return grid_TBC.transpose(0, 1).reshape(self.total, *grid_TBC.shape[2:])
        return grid_TBC.flatten(0, 1).index_select(0, self.slot_N)

    def mirrored(self, values_NC: Tensor) -> Tensor:
        """Turn every sequence around."""
        return values_NC.index_select(0, self.mirror_N)

    def spread(self, values_BC: Tensor) -> Tensor:
        """Give every step what belongs to its sequence, [N, ...]."""
        return values_BC.index_select(0, self.owner_N)

    def shifted(self, values_NC: Tensor, by: int, *, before_BKC: Tensor | None = None) -> Tensor:
        """Give every step the values of the step `by` steps before it in its sequence.

        Args:
            values_NC: the steps.
            by: steps to look back; below 0 they lie ahead.
            before_BKC: the K >= by steps before each sequence; zeros where left out.
        """
        here_N = (self.step_N >= by) & (self.step_N - by < self.spread(self.lengths_B))
        index_N = torch.arange(self.total, device=self.device) - by
        back_NC = values_NC.index_select(0, index_N.clamp(min=0, max=self.total - 1))
        early_N1 = (~here_N).view(-1, *[1] * (values_NC.dim() - 1))
        if before_BKC is None:
            return back_NC.masked_fill(early_N1, 0.0)
        kept = before_BKC.shape[1]
        place_N = (self.step_N + kept - by).clamp(max=kept - 1)
        return torch.where(early_N1, before_BKC[self.owner_N, place_N], back_NC)

    @cached_property
    def alive(self) -> list[int]:
        """How many sequences have a first step, a second, and so on."""
        counts = np.bincount(self.lengths, minlength=self.longest + 1)[1:]
        return [int(count) for count in counts[::-1].cumsum()[::-1]]

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Place of each sequence when the longest come first, on the host."""
        ranks = np.empty(len(self), np.int64)
        ranks[self.by_length] = np.arange(len(self))
        return ranks

    @cached_property
    def by_length(self) -> NDArray[np.int64]:
        """The sequences, the longest first, on the host."""
        return np.argsort(-self.lengths, kind="stable")

    @cached_property
    def by_time_N(self) -> Tensor:
        """The steps in order of time: all first steps, the longest sequences' first, and so on."""
        return self.to_device(np.lexsort((self.ranks[self.owners], self.steps)))

    @cached_property
    def from_time_N(self) -> Tensor:
        """The way back from `by_time_N`."""
        back = torch.empty_like(self.by_time_N)
        back[self.by_time_N] = torch.arange(self.total, device=self.device)
        return back
