"""The linear recurrent unit (Orvieto et al. 2023): a diagonal recurrence of complex numbers.

s = L s' + g (B x)            L = exp(-exp(n) + i exp(p)), on a ring within the unit circle
y = Re(C s) + D x             g = sqrt(1 - |L|^2), so that all units begin with equal variance
h = u * sigmoid(v), where u, v = W gelu(y)

The last line is the gated unit of the paper's block; without it stacked layers would be one linear
map.

Shapes: N steps, T steps of a grid, B sequences, I inputs, H units; real and imaginary parts are
the last axis, 2.
"""

from math import pi, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State
from models.networks.cells.scan import linear_scan
from models.networks.jagged import Offsets
from models.networks.native.call import KernelLibrary
from models.networks.native.kernels import select_kernels
from models.networks.native.scans import run_scan

INITIAL_RADIUS_RANGE = 0.4, 0.99
"""Range of the initial absolute values of the units: how long they remember."""
MAX_INITIAL_ANGLE = pi / 10
"""Largest initial angle by which a unit rotates at each step."""


class Lru(Cell):
    """A complex memory, read out through a gate."""

    has_kernel = True

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        low, high = INITIAL_RADIUS_RANGE
        radius_H = torch.sqrt(torch.rand(hidden) * (high**2 - low**2) + low**2)
        self.log_decay_H = nn.Parameter(torch.log(-torch.log(radius_H)))
        self.log_turn_H = nn.Parameter(
            torch.log(MAX_INITIAL_ANGLE * torch.rand(hidden).clamp(min=1e-3))
        )
        self.enter = nn.Linear(inputs, 2 * hidden, bias=False)
        self.leave = nn.Linear(2 * hidden, hidden, bias=False)
        self.past = nn.Linear(inputs, hidden)
        self.gate = nn.Linear(hidden, 2 * hidden)
        with torch.no_grad():
            self.enter.weight.normal_(0, 1 / sqrt(2 * inputs))
            self.leave.weight.normal_(0, 1 / sqrt(hidden))

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return zeros."""
        return (like_BI.new_zeros(rows, self.hidden, 2),)

    @property
    def rotation_H(self) -> Tensor:
        """The complex factor of each unit's state at every step, [H]."""
        return torch.exp(torch.complex(-self.log_decay_H.exp(), self.log_turn_H.exp()))

    @property
    def input_scale_H1(self) -> Tensor:
        """Scale of each unit's input, [H, 1]."""
        return torch.sqrt(-torch.expm1(-2 * self.log_decay_H.exp()))[:, None]

    def project_input(self, inputs_NI: Tensor) -> Tensor:
        """Return the projected input of the memory, complex [N, H]."""
        parts_NH2 = self.enter(inputs_NI).unflatten(1, (self.hidden, 2))
        return torch.view_as_complex(
            (self.input_scale_H1 * parts_NH2).to(self.log_decay_H.dtype).contiguous()
        )

    def read_out(self, memory_NH: Tensor, inputs_NI: Tensor) -> Tensor:
        """Return the outputs of these memories."""
        return self.compute_outputs(self.leave(torch.view_as_real(memory_NH).flatten(1)), inputs_NI)

    def compute_outputs(self, seen_NH: Tensor, inputs_NI: Tensor) -> Tensor:
        """Return the outputs of these read-outs of the state."""
        seen_NH = seen_NH + self.past(inputs_NI)
        return functional.glu(self.gate(functional.gelu(seen_NH)), dim=1)

    def step(self, inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        before_BH = torch.view_as_complex(state[0].contiguous())
        memory_BH = self.rotation_H * before_BH + self.project_input(inputs_BI)
        return self.read_out(memory_BH, inputs_BI), (torch.view_as_real(memory_BH),)

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences by a scan."""
        [start_BH2] = state or self.init_state(values_NI, len(offsets))
        if (kernels := select_kernels(values_NI, start_BH2, *self.parameters())) is not None:
            return self.run_kernel(kernels, values_NI, offsets, start_BH2)
        start_BH = torch.view_as_complex(start_BH2.to(self.log_decay_H.dtype).contiguous())
        enter_TBH = offsets.to_grid(self.project_input(values_NI))
        turn_TBH = self.rotation_H.expand(enter_TBH.shape)
        if not offsets.is_uniform:
            turn_TBH = torch.where(offsets.valid_TB[:, :, None], turn_TBH, 1.0)
        states_TBH = linear_scan(turn_TBH, enter_TBH, start_BH)
        outputs_NH = self.read_out(offsets.from_grid(states_TBH), values_NI)
        return outputs_NH, (torch.view_as_real(states_TBH[-1]),)

    def run_kernel(
        self, kernels: KernelLibrary, values_NI: Tensor, offsets: Offsets, start_BH2: Tensor
    ) -> tuple[Tensor, State]:
        """Scan with the compiled kernel, for which real parts come first, in the weights too."""
        hidden = self.hidden
        enter_H2I = self.input_scale_H1[:, :, None] * self.enter.weight.unflatten(0, (hidden, 2))
        memory_N2H, ends_B2H = run_scan(
            kernels,
            "lru",
            offsets,
            functional.linear(values_NI, enter_H2I.transpose(0, 1).flatten(0, 1)),
            start=start_BH2.transpose(1, 2).flatten(1),
            shared=torch.view_as_real(self.rotation_H).t().flatten(),
        )
        leave_HH2 = self.leave.weight.unflatten(1, (hidden, 2)).transpose(1, 2).flatten(1)
        seen_NH = functional.linear(memory_N2H, leave_HH2)
        ends_BH2 = ends_B2H.unflatten(1, (2, hidden)).transpose(1, 2)
        return self.compute_outputs(seen_NH, values_NI), (ends_BH2,)
