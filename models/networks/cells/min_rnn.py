"""minGRU and minLSTM: gates that see the input alone, so that time is a scan (Feng et al. 2024).

minGRU:   z = sigmoid(W_z x)                          h = (1 - z) h' + z g(W_h x)
minLSTM:  f, i = sigmoid(W_f x), sigmoid(W_i x)       h = f/(f+i) h' + i/(f+i) g(W_h x)

with the paper's g(v) = v + 1/2 where v >= 0, else sigmoid(v), which keeps states positive.

Shapes: N steps, T steps of a grid, B sequences, I inputs, H units.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State
from models.networks.cells.scan import linear_scan, log_space_scan
from models.networks.jagged import Offsets
from models.networks.native.kernels import select_kernels
from models.networks.native.scans import run_scan


class _MinCell(Cell):
    """Base of both: an update gate and a candidate, from the input alone."""

    has_kernel = True
    kernel_name: ClassVar[str]
    """Name of the compiled kernel."""

    def __init__(self, inputs: int, hidden: int, *, parts: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, parts * hidden)

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the projections of gates and candidate, [N, parts * H]."""
        projected_NP: Tensor = self.input(inputs_NI)
        return projected_NP

    def split_gates(self, projected_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of the update gate and of the candidate, before their activations."""
        raise NotImplementedError

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        open_BH, fresh_BH = self.split_gates(projected_BP)
        state_BH = torch.lerp(state[0], _make_positive(fresh_BH), torch.sigmoid(open_BH))
        return state_BH, (state_BH,)

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences by a scan."""
        state = state or self.init_state(values_NI, len(offsets))
        if (kernels := select_kernels(values_NI, *state, *self.parameters())) is not None:
            projected_NP = functional.linear(values_NI, self.input.weight)
            start_BH, bias_P = state[0], self.input.bias
            outputs_NH, ends_BH = run_scan(
                kernels, self.kernel_name, offsets, projected_NP, start=start_BH, shared=bias_P
            )
            return outputs_NH, (ends_BH,)
        return self.run_scan(values_NI, offsets, state)

    def run_scan(self, values_NI: Tensor, offsets: Offsets, state: State) -> tuple[Tensor, State]:
        """Compute the scan with torch, in float32 at least."""
        open_NH, fresh_NH = (
            part.float() if part.dtype.itemsize < 4 else part
            for part in self.split_gates(self.project(values_NI))
        )
        if values_NI.device.type == "cpu":
            gate_NH = torch.sigmoid(open_NH)
            keep_TBH = offsets.to_grid(1 - gate_NH, fill=1.0)
            states_TBH = linear_scan(
                keep_TBH, offsets.to_grid(gate_NH * _make_positive(fresh_NH)), state[0]
            )
        else:
            log_keep_TBH = offsets.to_grid(functional.logsigmoid(-open_NH))
            entering_NH = functional.logsigmoid(open_NH) + _make_log_positive(fresh_NH)
            nothing = float("-inf")
            states_TBH = log_space_scan(
                log_keep_TBH, offsets.to_grid(entering_NH, fill=nothing), state[0].float().log()
            )
        return offsets.from_grid(states_TBH), (states_TBH[-1],)


class MinGru(_MinCell):
    """One gate."""

    kernel_name = "mingru"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, parts=2)

    def split_gates(self, projected_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections of the gate and of the candidate."""
        open_NH, fresh_NH = projected_NP.chunk(2, dim=1)
        return open_NH, fresh_NH


class MinLstm(_MinCell):
    """Two gates, which are scaled to add up to 1."""

    kernel_name = "minlstm"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, parts=3)

    def split_gates(self, projected_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return log(i / f), of which i / (f + i) is the sigmoid, and the candidate."""
        forget_NH, enter_NH, fresh_NH = projected_NP.chunk(3, dim=1)
        share_NH = functional.softplus(-forget_NH) - functional.softplus(-enter_NH)
        return share_NH, fresh_NH


def _make_positive(value: Tensor) -> Tensor:
    """Return g(value)."""
    return torch.where(value >= 0, value + 0.5, torch.sigmoid(value))


def _make_log_positive(value: Tensor) -> Tensor:
    """Return the logarithm of g(value)."""
    return torch.where(
        value >= 0, (functional.relu(value) + 0.5).log(), functional.logsigmoid(value)
    )
