"""Quasi-recurrent networks (Bradbury et al. 2017), with fo-pooling.

z, f, o = tanh, sigmoid, sigmoid of W [x_{t-K+1}, ..., x_t] + b
c = f c' + (1 - f) z
h = o c

Shapes: N steps, T steps of a grid, B sequences, K steps that a gate sees, I inputs, J = K I,
H units.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State
from models.networks.cells.scan import linear_scan
from models.networks.jagged import Offsets
from models.networks.native.kernels import select_kernels
from models.networks.native.scans import run_scan


class Qrnn(Cell):
    """Gates by a convolution into the past, memory by a scan."""

    has_kernel = True

    def __init__(self, inputs: int, hidden: int, *, kernel_size: int = 2) -> None:
        super().__init__()
        self.hidden, self.inputs, self.kernel_size = hidden, inputs, kernel_size
        self.gates = nn.Linear(kernel_size * inputs, 3 * hidden)

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return a memory of zeros, and zeros for the inputs before the first."""
        past_BKI = like_BI.new_zeros(rows, self.kernel_size - 1, self.inputs)
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
        memory_BH, past_BKI = state or self.init_state(values_NI, len(offsets))
        seen = [
            offsets.shift(values_NI, back, before_BKC=past_BKI) if back else values_NI
            for back in reversed(range(self.kernel_size))
        ]
        seen_NJ = torch.cat(seen, dim=1)
        if (
            kernels := select_kernels(values_NI, memory_BH, past_BKI, *self.parameters())
        ) is not None:
            projected_NP, bias_P = functional.linear(seen_NJ, self.gates.weight), self.gates.bias
            outputs_NH, memory_BH = run_scan(
                kernels, "qrnn", offsets, projected_NP, start=memory_BH, shared=bias_P
            )
        else:
            outputs_NH, memory_BH = self.run_scan(seen_NJ, offsets, memory_BH)
        last_B = offsets.last_B
        ends = [part.index_select(0, last_B) for part in seen[1:]]
        past_BKI = torch.stack(ends, dim=1) if ends else past_BKI
        return outputs_NH, (memory_BH, past_BKI)

    def run_scan(
        self, seen_NJ: Tensor, offsets: Offsets, memory_BH: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the scan with torch."""
        fresh_NH, keep_NH, leave_NH = self.gates(seen_NJ).chunk(3, dim=1)
        keep_NH = torch.sigmoid(keep_NH)
        states_TBH = linear_scan(
            offsets.to_grid(keep_NH, fill=1.0),
            offsets.to_grid((1 - keep_NH) * torch.tanh(fresh_NH)),
            memory_BH,
        )
        return torch.sigmoid(leave_NH) * offsets.from_grid(states_TBH), states_TBH[-1]
