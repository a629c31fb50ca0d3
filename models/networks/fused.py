"""Cells that torch has kernels for, read without padding's effects.

A forward reading never sees what stands behind a sequence's end, so its outputs are right in a
padded grid. Its last state is not, where lengths differ: for that, time is cut where sequences
end, and each stretch is read with those that still run.

Shapes: N steps of all sequences, B sequences, T steps, I inputs, H units.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State, stretches, unroll
from models.networks.jagged import Offsets


class Fused(Cell):
    """A cell with a kernel of torch's; `step` is its definition over the kernel's weights."""

    def __init__(self, kernel: nn.RNNBase, *, zoneout: float = 0.0) -> None:
        super().__init__()
        self.kernel = kernel
        self.hidden, self.zoneout = kernel.hidden_size, zoneout

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the input's share of the gates."""
        weight_GI, _, bias_G, _ = self.kernel.all_weights[0]
        return functional.linear(inputs_NI, weight_GI, bias_G)

    def again(self, state_BH: Tensor) -> Tensor:
        """Return the last output's share of the gates."""
        _, weight_GH, _, bias_G = self.kernel.all_weights[0]
        return functional.linear(state_BH, weight_GH, bias_G)

    def run(self, grid_TBI: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Call the kernel on a grid."""
        given: Any = None
        if state is not None:
            parts = tuple(part[None].contiguous() for part in state)
            given = parts if len(parts) > 1 else parts[0]
        outputs_TBH, last = self.kernel(grid_TBI, given)
        parts = last if isinstance(last, tuple) else (last,)
        return outputs_TBH, tuple(part[0] for part in parts)

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences; return outputs and last states."""
        if self.zoneout:
            return unroll(self, values_NI, offsets, state, zoneout=self.zoneout)
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
        """Return the outputs alone: one call of the kernel."""
        if self.zoneout:
            return self(values_NI, offsets, state)[0]  # type: ignore[no-any-return]
        return offsets.flat(self.run(offsets.grid(values_NI), state)[0])
