"""Batches of concatenated sequences: `values [N, C]`, and where each sequence begins and ends.

Everything between features and head is computed on the N real steps, so that no padding can change
a prediction. Code that needs a grid of steps by sequences (a fused kernel, a softmax over steps)
builds one here and converts back at once.

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
    """Start and end of each sequence of a batch in its steps. No sequence is empty."""

    def __init__(self, bounds_B1: Tensor) -> None:
        """Store the bounds: sequence b is steps bounds[b] to bounds[b + 1].

        Raises:
            ValueError: a sequence is empty, or the first does not begin at 0.
        """
        bounds = bounds_B1.cpu().numpy().astype(np.int64)
        if bounds[0] != 0 or (np.diff(bounds) < 1).any():
            raise ValueError(f"offsets: {bounds.tolist()} do not increase from 0")
        self.bounds, self.device = bounds, bounds_B1.device

    @classmethod
    def from_lengths(
        cls, lengths_B: NDArray[Any] | list[int], device: torch.device | None = None
    ) -> Self:
        """Build the offsets of sequences of these lengths."""
        offsets = cls(torch.from_numpy(np.concatenate([[0], np.cumsum(lengths_B)])))
        offsets.device = device or torch.device("cpu")
        return offsets

    @classmethod
    @lru_cache(maxsize=8)
    def from_equal_lengths(cls, count: int, steps: int, device: torch.device) -> Self:
        """Build the offsets of sequences of one length; cached with what is computed from them."""
        return cls.from_lengths(np.full(count, steps), device)

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.bounds) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each sequence, on the host."""
        return np.diff(self.bounds)

    @property
    def num_steps(self) -> int:
        """Steps of all sequences."""
        return int(self.bounds[-1])

    @cached_property
    def max_length(self) -> int:
        """Steps of the longest sequence."""
        return int(self.lengths.max())

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all are equally long, so that a grid is only a view."""
        return self.num_steps == self.max_length * len(self)

    def to_device(self, array: NDArray[Any]) -> Tensor:
        """Copy an array of indices to the device."""
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
        """Index of each sequence's last step."""
        return self.to_device(self.bounds[1:] - 1)

    @cached_property
    def sequence_ids(self) -> NDArray[np.int64]:
        """Index of each step's sequence, on the host."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def sequence_N(self) -> Tensor:
        """Index of each step's sequence."""
        return self.to_device(self.sequence_ids)

    @cached_property
    def steps(self) -> NDArray[np.int64]:
        """Position of each step in its sequence, from 0, on the host."""
        return np.arange(self.num_steps) - self.bounds[self.sequence_ids]

    @cached_property
    def step_N(self) -> Tensor:
        """Position of each step in its sequence, from 0."""
        return self.to_device(self.steps)

    @cached_property
    def slot_N(self) -> Tensor:
        """Index of each step in a flattened grid."""
        return self.to_device(self.steps * len(self) + self.sequence_ids)

    @cached_property
    def reverse_N(self) -> Tensor:
        """Index of the step that takes each step's position when every sequence is reversed."""
        ends = (self.bounds[:-1] + self.bounds[1:] - 1)[self.sequence_ids]
        return self.to_device(ends - np.arange(self.num_steps))

    @cached_property
    def valid_TB(self) -> Tensor:
        """Which cells of a grid contain a step."""
        return torch.arange(self.max_length, device=self.device)[:, None] < self.lengths_B

    def to_grid(self, values_NC: Tensor, *, fill: float = 0.0) -> Tensor:
        """Return the sequences as a grid, [T, B, ...], with `fill` after their ends."""
        rest = values_NC.shape[1:]
        if self.is_uniform:
            return values_NC.reshape(len(self), self.max_length, *rest).transpose(0, 1)
        flat = values_NC.new_full((self.max_length * len(self), *rest), fill)
        return flat.index_copy(0, self.slot_N, values_NC).view(self.max_length, len(self), *rest)

    def from_grid(self, grid_TBC: Tensor) -> Tensor:
        """Return the steps of a grid, concatenated again, [N, ...]."""
        if self.is_uniform:
            return grid_TBC.transpose(0, 1).reshape(self.num_steps, *grid_TBC.shape[2:])
        return grid_TBC.flatten(0, 1).index_select(0, self.slot_N)

    def reverse(self, values_NC: Tensor) -> Tensor:
        """Reverse the steps of every sequence."""
        return values_NC.index_select(0, self.reverse_N)

    def repeat_per_step(self, values_BC: Tensor) -> Tensor:
        """Repeat each sequence's row for each of its steps, [N, ...]."""
        return values_BC.index_select(0, self.sequence_N)

    def shift(self, values_NC: Tensor, by: int, *, before_BKC: Tensor | None = None) -> Tensor:
        """Return for every step the values `by` steps before it in its sequence.

        Args:
            values_NC: the steps.
            by: steps to look back; below 0 they lie ahead.
            before_BKC: the K >= by steps before each sequence; zeros where left out.
        """
        is_within_N = (self.step_N >= by) & (
            self.step_N - by < self.repeat_per_step(self.lengths_B)
        )
        index_N = torch.arange(self.num_steps, device=self.device) - by
        back_NC = values_NC.index_select(0, index_N.clamp(min=0, max=self.num_steps - 1))
        early_N1 = (~is_within_N).view(-1, *[1] * (values_NC.dim() - 1))
        if before_BKC is None:
            return back_NC.masked_fill(early_N1, 0.0)
        count = before_BKC.shape[1]
        before_N = (self.step_N + count - by).clamp(max=count - 1)
        return torch.where(early_N1, before_BKC[self.sequence_N, before_N], back_NC)

    @cached_property
    def active_counts(self) -> list[int]:
        """How many sequences are active at each step, [T]."""
        counts = np.bincount(self.lengths, minlength=self.max_length + 1)[1:]
        return [int(count) for count in counts[::-1].cumsum()[::-1]]

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Rank of each sequence when the longest come first, on the host."""
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
        return self.to_device(np.lexsort((self.ranks[self.sequence_ids], self.steps)))

    @cached_property
    def from_time_N(self) -> Tensor:
        """The inverse permutation of `by_time_N`."""
        back = torch.empty_like(self.by_time_N)
        back[self.by_time_N] = torch.arange(self.num_steps, device=self.device)
        return back
