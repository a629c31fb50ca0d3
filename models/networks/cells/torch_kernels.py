"""Cells that torch has kernels for.

Shapes: N steps of all sequences, B sequences, T steps, I inputs, H units.
"""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import State, init_gate_weights, unroll_steps
from models.networks.cells.padded_grid import PaddedGridCell
from models.networks.jagged import Offsets


class TorchCell(PaddedGridCell):
    """A cell with a kernel of torch's; `step` is its definition over the kernel's weights.

    Where a cell has a compiled kernel too, that one is used: it takes sequences of any lengths
    without padding, and its threads do not wait for each other at every step.
    """

    recurrent_weights = ("kernel.weight_hh_l0",)
    forget: ClassVar[int | None] = None
    """Index of the forget gate, if there is one."""

    def __init__(self, kernel: nn.RNNBase, *, zoneout: float = 0.0) -> None:
        super().__init__()
        self.kernel = kernel
        self.hidden, self.zoneout = kernel.hidden_size, zoneout
        init_gate_weights(*kernel.all_weights[0], forget=self.forget)

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the projection of the input, before the gates' activations."""
        weight_GI, _, bias_G, _ = self.kernel.all_weights[0]
        return functional.linear(inputs_NI, weight_GI, bias_G)

    def project_state(self, state_BH: Tensor) -> Tensor:
        """Return the projection of the last output, before the gates' activations."""
        _, weight_GH, _, bias_G = self.kernel.all_weights[0]
        return functional.linear(state_BH, weight_GH, bias_G)

    def run_grid(self, grid_TBI: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Call the kernel on a grid."""
        initial: Any = None
        if state is not None:
            parts = tuple(part[None].contiguous() for part in state)
            initial = parts if len(parts) > 1 else parts[0]
        outputs_TBH, last = self.kernel(grid_TBI, initial)
        parts = last if isinstance(last, tuple) else (last,)
        return outputs_TBH, tuple(part[0] for part in parts)

    def run_kernel(
        self, values_NI: Tensor, offsets: Offsets, state: State | None
    ) -> tuple[Tensor, State] | None:
        """Read with the compiled kernel, if it is available and takes these sequences."""
        del values_NI, offsets, state
        return None

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences; return outputs and last states."""
        if self.zoneout:
            return unroll_steps(self, values_NI, offsets, state, zoneout=self.zoneout)
        result = self.run_kernel(values_NI, offsets, state)
        return result if result is not None else super().forward(values_NI, offsets, state)

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone: one call of the kernel."""
        if self.zoneout:
            return self(values_NI, offsets, state)[0]  # type: ignore[no-any-return]
        result = self.run_kernel(values_NI, offsets, state)
        return result[0] if result is not None else super().outputs(values_NI, offsets, state)
