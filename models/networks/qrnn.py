"""Quasi-recurrent networks (Bradbury et al. 2017), with fo-pooling.

z, f, o = tanh, sigmoid, sigmoid of W [x_{t-K+1}, ..., x_t] + b
c = f c' + (1 - f) z
h = o c

Shapes: N steps, T steps of a grid, B sequences, K steps that a gate sees, I inputs, H units.
"""

import torch
from torch import Tensor, nn

from models.networks.cell import Cell, State
from models.networks.jagged import Offsets
from models.networks.scan import linear_scan


class Qrnn(Cell):
    """Gates by a convolution into the past, memory by a scan."""

    def __init__(self, inputs: int, hidden: int, *, width: int = 2) -> None:
        super().__init__()
        self.hidden, self.inputs, self.width = hidden, inputs, width
        self.gates = nn.Linear(width * inputs, 3 * hidden)

    def start(self, like_BI: Tensor, rows: int) -> State:
        """Return a memory of zeros, and zeros for the inputs before the first."""
        past_BKI = like_BI.new_zeros(rows, self.width - 1, self.inputs)
        return like_BI.new_zeros(rows, self.hidden), past_BKI

    def step(self, inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        seen_BKI = torch.cat([state[1], inputs_BI[:, None]], dim=1)
        fresh_BH, keep_BH, leave_BH = self.gates(seen_BKI.flatten(1)).chunk(3, dim=1)
        memory_BH = torch.lerp(torch.tanh(fresh_BH), state[0], torch.sigmoid(keep_BH))
        return torch.sigmoid(leave_BH) * memory_BH, (memory_BH, seen_BKI[:, 1:])

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences by a scan."""
        memory_BH, past_BKI = state or self.start(values_NI, len(offsets))
        seen = [
            offsets.shifted(values_NI, back, before_BKC=past_BKI) if back else values_NI
            for back in reversed(range(self.width))
        ]
        fresh_NH, keep_NH, leave_NH = self.gates(torch.cat(seen, dim=1)).chunk(3, dim=1)
        keep_NH = torch.sigmoid(keep_NH)
        states_TBH = linear_scan(
            offsets.grid(keep_NH, fill=1.0),
            offsets.grid((1 - keep_NH) * torch.tanh(fresh_NH)),
            memory_BH,
        )
        last_B = offsets.last_B
        ends = [part.index_select(0, last_B) for part in seen[1:]]
        past_BKI = torch.stack(ends, dim=1) if ends else past_BKI
        return torch.sigmoid(leave_NH) * offsets.flat(states_TBH), (states_TBH[-1], past_BKI)
