"""The base class of recurrent cells: one step as its paper's equations, and whole sequences fast.

`step` is the definition; decoders and streams take one step at a time. `forward` reads whole
sequences with the same result. There a cell either has a kernel or a scan of its own, or it defines
how its input is projected (all steps at once) and how its state advances (step by step), and is
unrolled here: the sequences that are still active stay together at the front, so that nothing is
computed for those that have ended.

Shapes: N steps of all sequences, B sequences, I inputs, P numbers of the projected input, H units.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from models.networks.jagged import Offsets

State = tuple[Tensor, ...]
"""The state that a cell carries from step to step, each part [B, ...]."""


class Cell(nn.Module):
    """A recurrent cell of one direction."""

    hidden: int
    """Numbers of the output at every step."""
    has_kernel: ClassVar[bool] = False
    """Whether there is a compiled kernel for it."""
    recurrent_weights: ClassVar[tuple[str, ...]] = ()
    """Names of the matrices by which the state is multiplied, if any."""

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return the state before the first step: zeros."""
        return (like_BI.new_zeros(rows, self.hidden),)

    def step(self, inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step with every sequence: the definition."""
        return self.advance(self.project(inputs_BI), state)

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the projected input of every step, [N, P]."""
        raise NotImplementedError

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the next state; return the outputs, [B, H], and the state."""
        raise NotImplementedError

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences.

        Returns:
            the outputs at every step, [N, H], and each sequence's state after its last.
        """
        return unroll_steps(self, values_NI, offsets, state)

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone, [N, H]; some cells compute them faster than the state too."""
        return self(values_NI, offsets, state)[0]  # type: ignore[no-any-return]


def run_step_by_step(
    cell: Cell, values_NI: Tensor, offsets: Offsets, state: State | None = None
) -> tuple[Tensor, State]:
    """Read every sequence alone, one `step` after the other: the definition, for tests."""
    state = state or cell.init_state(values_NI, len(offsets))
    outputs, ends = [], []
    for row, (first, stop) in enumerate(zip(offsets.bounds[:-1], offsets.bounds[1:], strict=True)):
        own = tuple(part[row : row + 1] for part in state)
        for index in range(first, stop):
            output_1H, own = cell.step(values_NI[index : index + 1], own)
            outputs.append(output_1H)
        ends.append(own)
    return torch.cat(outputs), tuple(torch.cat(parts) for parts in zip(*ends, strict=True))


def unroll_steps(
    cell: Cell,
    values_NI: Tensor,
    offsets: Offsets,
    state: State | None = None,
    *,
    zoneout: float = 0.0,
) -> tuple[Tensor, State]:
    """Read all sequences of a batch together, one step after the other.

    Args:
        cell: has `project` and `advance`.
        values_NI: the steps.
        offsets: of the sequences.
        state: before the first step.
        zoneout: share of units that keep their last value at a step, in training; else the mean
            of the last and the new value (Krueger et al. 2017).
    """
    rank_B = offsets.to_device(offsets.by_length)
    state = state or cell.init_state(values_NI, len(offsets))
    state = tuple(part.index_select(0, rank_B) for part in state)
    projected_NP = cell.project(values_NI).index_select(0, offsets.by_time_N)
    outputs, ended = [], []
    for projected_BP in projected_NP.split(offsets.active_counts):
        if len(projected_BP) < len(state[0]):
            ended.append(tuple(part[len(projected_BP) :] for part in state))
            state = tuple(part[: len(projected_BP)] for part in state)
        output_BH, new_state = cell.advance(projected_BP, state)
        if zoneout:
            new_state = _apply_zoneout(state, new_state, share=zoneout, training=cell.training)
            output_BH = new_state[0]
        outputs.append(output_BH)
        state = new_state
    ended.append(state)
    # The sequences that end last are at the front.
    ends = (torch.cat(parts) for parts in zip(*reversed(ended), strict=True))
    back_B = offsets.to_device(offsets.ranks)
    outputs_NH = torch.cat(outputs).index_select(0, offsets.from_time_N)
    return outputs_NH, tuple(end.index_select(0, back_B) for end in ends)


def split_at_ends(offsets: Offsets) -> list[tuple[int, int, int]]:
    """Cut time where sequences end: (from, to, number of active sequences)."""
    ends = np.unique(offsets.lengths)
    begins = np.concatenate([[0], ends[:-1]])
    return [
        (int(begin), int(end), offsets.active_counts[begin])
        for begin, end in zip(begins, ends, strict=True)
    ]


@torch.no_grad()
def init_gate_weights(
    input_GI: Tensor, recurrent_GH: Tensor, *biases_G: Tensor, forget: int | None = None
) -> None:
    """Initialize the weights of a cell whose gates, of H units each, are stacked in the rows.

    Input weights are Glorot uniform (Glorot and Bengio 2010), recurrent weights are orthogonal
    (Saxe, McClelland and Ganguli 2014). Biases are 0, except that those of the forget gate add up
    to 1, so that the memory lasts at first (Gers, Schmidhuber and Cummins 2000; Jozefowicz,
    Zaremba and Sutskever 2015).
    """
    hidden = recurrent_GH.shape[1]
    for gate_HI, gate_HH in zip(input_GI.split(hidden), recurrent_GH.split(hidden), strict=True):
        nn.init.xavier_uniform_(gate_HI)
        nn.init.orthogonal_(gate_HH)
    for bias_G in biases_G:
        bias_G.zero_()
    if forget is not None and biases_G:
        biases_G[0].split(hidden)[forget].fill_(1.0)


def _apply_zoneout(before: State, after: State, *, share: float, training: bool) -> State:
    """Return the state in which a random share of units keeps its last value."""
    if not training:
        return tuple(new.lerp(old, share) for old, new in zip(before, after, strict=True))
    return tuple(
        torch.where(torch.rand_like(new) < share, old, new)
        for old, new in zip(before, after, strict=True)
    )
