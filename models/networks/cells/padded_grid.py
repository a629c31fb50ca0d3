"""Cells that a kernel reads a whole grid at a time, without padding's effects.

Reading forwards, a cell never sees what comes after a sequence's end, so its outputs are right in
a padded grid. Its last state is not, where lengths differ: for that, time is cut where sequences
end, and each part is read with the sequences that are still active.

Shapes: N steps of all sequences, B sequences, T steps, I inputs, H units.
"""

import torch
from torch import Tensor

from models.networks.cell import Cell, State, split_at_ends
from models.networks.jagged import Offsets


class PaddedGridCell(Cell):
    """A cell that can run over a padded grid from its first step on."""

    def run_grid(self, grid_TBI: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the outputs, [T, B, H], and the states after the grid's last step."""
        raise NotImplementedError

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences; return outputs and last states."""
        if offsets.is_uniform:
            outputs_TBH, state = self.run_grid(offsets.to_grid(values_NI), state)
            return offsets.from_grid(outputs_TBH), state
        rank_B = offsets.to_device(offsets.by_length)
        grid_TBI = offsets.to_grid(values_NI).index_select(1, rank_B)
        state = state or self.init_state(values_NI, len(offsets))
        state = tuple(part.index_select(0, rank_B) for part in state)
        chunks, ended = [], []
        for begin, end, active in split_at_ends(offsets):
            ended.append(tuple(part[active:] for part in state))
            chunk, state = self.run_grid(
                grid_TBI[begin:end, :active], tuple(part[:active] for part in state)
            )
            chunks.append(chunk.flatten(0, 1))
        ended.append(state)
        back_B = offsets.to_device(offsets.ranks)
        ends = (torch.cat(parts) for parts in zip(*reversed(ended), strict=True))
        outputs_NH = torch.cat(chunks).index_select(0, offsets.from_time_N)
        return outputs_NH, tuple(end.index_select(0, back_B) for end in ends)

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone: one call."""
        return offsets.from_grid(self.run_grid(offsets.to_grid(values_NI), state)[0])
