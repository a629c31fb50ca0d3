"""The gated recurrent unit (Cho et al. 2014), reset after the product, as cuDNN has it.

r = sigmoid(W_r x + b_r + U_r h' + d_r)
z = sigmoid(W_z x + b_z + U_z h' + d_z)
n = tanh(W_n x + b_n + r (U_n h' + d_n))
h = (1 - z) n + z h'

Shapes: B sequences, I inputs, H units.
"""

import torch
from torch import Tensor, nn

from models.networks.cell import State
from models.networks.cells.torch_kernels import TorchCell
from models.networks.jagged import Offsets
from models.networks.native.gru import run_gru


class Gru(TorchCell):
    """The cell of Cho et al., with torch's or the compiled kernel."""

    has_kernel = True

    def __init__(self, inputs: int, hidden: int, *, zoneout: float = 0.0) -> None:
        super().__init__(nn.GRU(inputs, hidden), zoneout=zoneout)

    def run_kernel(
        self, values_NI: Tensor, offsets: Offsets, state: State | None
    ) -> tuple[Tensor, State] | None:
        """Read with the compiled kernel, if it is available and takes these sequences."""
        state = state or self.init_state(values_NI, len(offsets))
        return run_gru(self.kernel, values_NI, offsets, state)

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        recurrent_BG = self.project_state(state[0])
        reset_BH, keep_BH, fresh_BH = projected_BP.chunk(3, dim=1)
        reset_recurrent_BH, keep_recurrent_BH, fresh_recurrent_BH = recurrent_BG.chunk(3, dim=1)
        reset_BH = torch.sigmoid(reset_BH + reset_recurrent_BH)
        keep_BH = torch.sigmoid(keep_BH + keep_recurrent_BH)
        fresh_BH = torch.tanh(fresh_BH + reset_BH * fresh_recurrent_BH)
        state_BH = torch.lerp(fresh_BH, state[0], keep_BH)
        return state_BH, (state_BH,)
