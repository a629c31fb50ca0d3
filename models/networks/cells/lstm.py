"""Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 1999).

i = sigmoid(W_i x + U_i h' [+ p_i c'])        [..]: peepholes (Gers and Schmidhuber 2000)
f = sigmoid(W_f x + U_f h' [+ p_f c'])
g = tanh(W_g x + U_g h')
c = f c' + i g
o = sigmoid(W_o x + U_o h' [+ p_o c])
h = o tanh(c)

With layer normalisation (Ba, Kiros and Hinton 2016) W x, U h' and the c of the last line are each
normalized to mean 0 and std 1 over the units, then scaled and shifted by learned numbers.

Shapes: B sequences, I inputs, H units, G = 4 H gates.
"""

import torch
from torch import Tensor, nn

from models.networks.cell import Cell, State, init_gate_weights, unroll_steps
from models.networks.cells.torch_kernels import TorchCell
from models.networks.jagged import Offsets


class Lstm(TorchCell):
    """The standard cell."""

    forget = 1

    def __init__(self, inputs: int, hidden: int, *, zoneout: float = 0.0) -> None:
        super().__init__(nn.LSTM(inputs, hidden), zoneout=zoneout)

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return output and memory of zeros."""
        return like_BI.new_zeros(rows, self.hidden), like_BI.new_zeros(rows, self.hidden)

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        recurrent_BG = self.project_state(state[0])
        cell_BH, leave_BH = _update_memory((projected_BP + recurrent_BG).chunk(4, dim=1), state[1])
        state_BH = torch.sigmoid(leave_BH) * torch.tanh(cell_BH)
        return state_BH, (state_BH, cell_BH)


class GatedLstm(Cell):
    """The cell with peepholes, with layer normalisation, or with both."""

    recurrent_weights = ("again.weight",)

    def __init__(
        self, inputs: int, hidden: int, *, peephole: bool, layer_norm: bool, zoneout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden, self.zoneout = hidden, zoneout
        self.input = nn.Linear(inputs, 4 * hidden, bias=not layer_norm)
        self.again = nn.Linear(hidden, 4 * hidden, bias=False)
        self.peepholes_3H = nn.Parameter(torch.zeros(3, hidden)) if peephole else None
        self.input_norm, self.again_norm, self.cell_norm = (
            nn.LayerNorm(width) if layer_norm else nn.Identity()
            for width in (4 * hidden, 4 * hidden, hidden)
        )
        bias_G = self.get_parameter("input_norm.bias" if layer_norm else "input.bias")
        init_gate_weights(self.input.weight, self.again.weight, bias_G, forget=Lstm.forget)

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return output and memory of zeros."""
        return like_BI.new_zeros(rows, self.hidden), like_BI.new_zeros(rows, self.hidden)

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the projection of the input, before the gates' activations."""
        projected_NG: Tensor = self.input_norm(self.input(inputs_NI))
        return projected_NG

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        gates_BG = projected_BP + self.again_norm(self.again(state[0]))
        enter_BH, forget_BH, update_BH, leave_BH = gates_BG.chunk(4, dim=1)
        peepholes = self.peepholes_3H
        if peepholes is not None:
            enter_BH = torch.addcmul(enter_BH, peepholes[0], state[1])
            forget_BH = torch.addcmul(forget_BH, peepholes[1], state[1])
        cell_BH, leave_BH = _update_memory((enter_BH, forget_BH, update_BH, leave_BH), state[1])
        if peepholes is not None:
            leave_BH = torch.addcmul(leave_BH, peepholes[2], cell_BH)
        state_BH = torch.sigmoid(leave_BH) * torch.tanh(self.cell_norm(cell_BH))
        return state_BH, (state_BH, cell_BH)

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences; return outputs and last states."""
        return unroll_steps(self, values_NI, offsets, state, zoneout=self.zoneout)


def build_lstm(
    inputs: int, hidden: int, *, peephole: bool, layer_norm: bool, zoneout: float
) -> Lstm | GatedLstm:
    """Build the standard cell, or one with peepholes or layer normalization."""
    if peephole or layer_norm:
        return GatedLstm(inputs, hidden, peephole=peephole, layer_norm=layer_norm, zoneout=zoneout)
    return Lstm(inputs, hidden, zoneout=zoneout)


def _update_memory(gates: tuple[Tensor, ...], cell_BH: Tensor) -> tuple[Tensor, Tensor]:
    """Return the new memory, and the projection of the output gate."""
    enter_BH, forget_BH, update_BH, leave_BH = gates
    carried_BH = torch.sigmoid(forget_BH) * cell_BH
    return carried_BH + torch.sigmoid(enter_BH) * torch.tanh(update_BH), leave_BH
