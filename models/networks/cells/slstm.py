"""sLSTM, the scalar half of xLSTM (Beck et al. 2024): gates that can overrule what is remembered.

i, f, z, o = W x + R h' + b, R one block a head
m = max(log sigmoid(f) + m', i)                       what the exponentials are held down by
c = exp(log sigmoid(f) + m' - m) c' + exp(i - m) tanh(z)
n = exp(log sigmoid(f) + m' - m) n' + exp(i - m)
h = sigmoid(o) c / n

and what comes out is each head's h, brought to mean 0 and spread 1 over its units, scaled by
learned numbers. R reads the h before that. The forget gate is the paper's sigmoid variant.

Shapes: N steps of all sequences, B sequences, I inputs, H units, A heads of D units each.
"""

import logging
from functools import cache
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State, unroll
from models.networks.cells import flashrnn
from models.networks.jagged import Offsets

logger = logging.getLogger(__name__)

OPEN = 3.0, 6.0
"""Between these the drives of the forget gates begin, so that memory lasts."""
NOTHING = -1e9
"""Log of what the memory holds before the first step."""
TOLERANCES = {torch.float32: 5e-3, torch.bfloat16: 5e-2}
"""How far a kernel may be off, as a share; tensor cores round float32 too."""


class HeadNorm(nn.Module):
    """Bring each head's units to mean 0 and spread 1."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale_H = nn.Parameter(torch.ones(hidden))

    def forward(self, values_NH: Tensor) -> Tensor:
        """Return [N, H]."""
        known_NH = values_NH if values_NH.dtype.itemsize >= 4 else values_NH.float()
        apart_NAD = known_NH.unflatten(1, (self.heads, -1))
        return functional.layer_norm(apart_NAD, apart_NAD.shape[2:]).flatten(1) * self.scale_H


class Slstm(Cell):
    """Exponential gates over scalar memories."""

    def __init__(self, inputs: int, hidden: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.hidden, self.heads = hidden, num_heads
        size = hidden // num_heads
        self.input = nn.Linear(inputs, 4 * hidden)
        self.again_AD4D = nn.Parameter(torch.empty(num_heads, size, 4 * size))
        self.norm = HeadNorm(hidden, num_heads)
        with torch.no_grad():
            self.again_AD4D.uniform_(-1 / sqrt(size), 1 / sqrt(size))
            self.input.bias[hidden : 2 * hidden] = torch.linspace(*OPEN, hidden)

    def start(self, like_BI: Tensor, rows: int) -> State:
        """Return h, c, n of zeros, and m far below any gate."""
        zeros_BH = like_BI.new_zeros(rows, self.hidden)
        return zeros_BH, zeros_BH, zeros_BH, zeros_BH + NOTHING

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the input's share of the gates."""
        driven_NP: Tensor = self.input(inputs_NI)
        return driven_NP

    def advance(self, driven_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        said_BH, memory_BH, total_BH, held_BH = state
        apart_ABD = said_BH.unflatten(1, (self.heads, -1)).transpose(0, 1)
        again_BA4D = torch.bmm(apart_ABD, self.again_AD4D.to(said_BH.dtype)).transpose(0, 1)
        again_B4H = again_BA4D.unflatten(2, (4, -1)).transpose(1, 2).flatten(2)
        enter_BH, forget_BH, fresh_BH, leave_BH = (
            driven_BP.to(held_BH.dtype).unflatten(1, (4, -1)) + again_B4H
        ).unbind(1)
        lasting_BH = functional.logsigmoid(forget_BH) + held_BH
        held_BH = torch.maximum(lasting_BH, enter_BH)
        keep_BH, open_BH = torch.exp(lasting_BH - held_BH), torch.exp(enter_BH - held_BH)
        memory_BH = keep_BH * memory_BH + open_BH * torch.tanh(fresh_BH)
        total_BH = keep_BH * total_BH + open_BH
        said_BH = torch.sigmoid(leave_BH) * memory_BH / total_BH
        return self.norm(said_BH), (said_BH, memory_BH, total_BH, held_BH)

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone, from a kernel where one is installed, suits and is right."""
        device, size = values_NI.device, self.hidden // self.heads
        if flashrnn.takes(device, size) and trusted(
            self.heads, size, flashrnn.precision(device), device
        ):
            return self.outputs_at_once(values_NI, offsets, state)
        return super().outputs(values_NI, offsets, state)

    def outputs_at_once(
        self,
        values_NI: Tensor,
        offsets: Offsets,
        state: State | None = None,
        *,
        backend: str = "triton_fused",
    ) -> Tensor:
        """Return the outputs alone, from one of FlashRNN's kernels."""
        driven_TBP = offsets.grid(self.project(values_NI))
        state = state or self.start(values_NI, len(offsets))
        said_TBH = flashrnn.read_slstm(driven_TBP, self.again_AD4D, state, backend=backend)
        outputs_NH: Tensor = self.norm(offsets.flat(said_TBH))
        return outputs_NH


@cache
def trusted(heads: int, size: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Let the kernel show, once, that it comes to what the definition does; else say so."""
    try:
        off = mistake(heads, size, dtype, device)
    except flashrnn.failures() as error:
        logger.warning("FlashRNN's kernel does not run here (%s); read step by step", error)
        return False
    if not off < TOLERANCES[dtype]:
        logger.warning("FlashRNN's kernel is off by %.1e here; read step by step", off)
    return off < TOLERANCES[dtype]


@torch.enable_grad()
def mistake(heads: int, size: int, dtype: torch.dtype, device: torch.device) -> float:
    """Measure how far the kernel's outputs and gradients are from the definition's, as a share."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = Slstm(8, heads * size, num_heads=heads).to(device)
        values_NI = torch.randn(5 * 24, 8).to(device)
    offsets = Offsets.of([24] * 5, device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        fast_NH = cell.outputs_at_once(values_NI, offsets)
    with torch.autocast(device.type, enabled=False):
        slow_NH = unroll(cell, values_NI, offsets)[0]
    found = []
    for outputs_NH in (fast_NH.float(), slow_NH):
        slopes = torch.autograd.grad(outputs_NH.square().mean(), list(cell.parameters()))
        found.append(torch.cat([part.flatten() for part in (outputs_NH.detach(), *slopes)]))
    return float((found[0] - found[1]).norm() / found[1].norm())
