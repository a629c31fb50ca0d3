"""The vanilla recurrent network (Elman 1990), with tanh.

h = tanh(W x + b + U h' + d)

Shapes: B sequences, I inputs, H units.
"""

import torch
from torch import Tensor, nn

from models.networks.cell import State
from models.networks.cells.torch_kernels import TorchCell


class Rnn(TorchCell):
    """The cell of Elman, with torch's kernel."""

    def __init__(self, inputs: int, hidden: int, *, zoneout: float = 0.0) -> None:
        super().__init__(nn.RNN(inputs, hidden), zoneout=zoneout)

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        state_BH = torch.tanh(projected_BP + self.project_state(state[0]))
        return state_BH, (state_BH,)
