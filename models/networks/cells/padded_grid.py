"""Cells that a kernel reads a whole grid at a time, without padding's effects.

A forward reading never sees what stands behind a sequence's end, so its outputs are right in a
padded grid. Its last state is not, where lengths differ: for that, time is cut where sequences
end, and each stretch is read with those that still run.

Shapes: N steps of all sequences, B sequences, T steps, I inputs, H units.
"""

import torch
from torch import Tensor

from models.networks.cell import Cell, State, stretches
from models.networks.jagged import Offsets


class Gridded(Cell):
    """A cell that can `run` over a padded grid from its first step on."""

    def run(self, grid_TBI: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the outputs, [T, B, H], and the states after the grid's last step."""
        raise NotImplementedError

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences; return outputs and last states."""
        if offsets.uniform:
            outputs_TBH, state = self.run(offsets.grid(values_NI), state)
            return offsets.flat(outputs_TBH), state
        rank_B = offsets.to_device(offsets.by_length)
        grid_TBI = offsets.grid(values_NI).index_select(1, rank_B)
        state = state or self.start(values_NI, len(offsets))
        state = tuple(part.index_select(0, rank_B) for part in state)
        pieces, ended = [], []
        for begin, end, alive in stretches(offsets):
            ended.append(tuple(part[alive:] for part in state))
            piece, state = self.run(
                grid_TBI[begin:end, :alive], tuple(part[:alive] for part in state)
            )
            pieces.append(piece.flatten(0, 1))
        ended.append(state)
        back_B = offsets.to_device(offsets.ranks)
        ends = (torch.cat(parts) for parts in zip(*reversed(ended), strict=True))
        outputs_NH = torch.cat(pieces).index_select(0, offsets.from_time_N)
        return outputs_NH, tuple(end.index_select(0, back_B) for end in ends)

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone: one call."""
        return offsets.flat(self.run(offsets.grid(values_NI), state)[0])
