"""sLSTM, the scalar half of xLSTM (Beck et al. 2024): exponential gates over scalars.

i, f, z, o = W x + R h' + b, R one block a head
m = max(log sigmoid(f) + m', i)                       keeps the exponentials small
c = exp(log sigmoid(f) + m' - m) c' + exp(i - m) tanh(z)
n = exp(log sigmoid(f) + m' - m) n' + exp(i - m)
h = sigmoid(o) c / n

and the output is each head's h, normalized to mean 0 and std 1 over its units and scaled by
learned numbers. R reads the h before that. The forget gate is the paper's sigmoid variant.

Shapes: N steps of all sequences, B sequences, I inputs, H units, A heads of D units each.
"""

import logging
from functools import cache
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State, unroll_steps
from models.networks.cells import flashrnn
from models.networks.jagged import Offsets

logger = logging.getLogger(__name__)

FORGET_BIAS_RANGE = 3.0, 6.0
"""Range of the initial biases of the forget gates, so that memory lasts."""
LOG_ZERO = -1e9
"""Logarithm in place of that of 0, before the first step."""
TOLERANCES = {torch.float32: 5e-3, torch.bfloat16: 5e-2}
"""Largest relative error of a kernel; tensor cores round float32 too."""


class HeadNorm(nn.Module):
    """Normalize each head's units to mean 0 and standard deviation 1."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale_H = nn.Parameter(torch.ones(hidden))

    def forward(self, values_NH: Tensor) -> Tensor:
        """Return [N, H]."""
        float_NH = values_NH if values_NH.dtype.itemsize >= 4 else values_NH.float()
        heads_NAD = float_NH.unflatten(1, (self.heads, -1))
        return functional.layer_norm(heads_NAD, heads_NAD.shape[2:]).flatten(1) * self.scale_H


class Slstm(Cell):
    """Exponential gates over scalar memories."""

    recurrent_weights = ("again_AD4D",)

    def __init__(self, inputs: int, hidden: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.hidden, self.heads = hidden, num_heads
        size = hidden // num_heads
        self.input = nn.Linear(inputs, 4 * hidden)
        self.again_AD4D = nn.Parameter(torch.empty(num_heads, size, 4 * size))
        self.norm = HeadNorm(hidden, num_heads)
        with torch.no_grad():
            self.again_AD4D.uniform_(-1 / sqrt(size), 1 / sqrt(size))
            self.input.bias[hidden : 2 * hidden] = torch.linspace(*FORGET_BIAS_RANGE, hidden)

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return h, c, n of zeros, and m far below any gate."""
        zeros_BH = like_BI.new_zeros(rows, self.hidden)
        return zeros_BH, zeros_BH, zeros_BH, zeros_BH + LOG_ZERO

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the projection of the input, before the gates' activations."""
        projected_NP: Tensor = self.input(inputs_NI)
        return projected_NP

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        outputs_BH, memory_BH, total_BH, max_BH = state
        heads_ABD = outputs_BH.unflatten(1, (self.heads, -1)).transpose(0, 1)
        again_BA4D = torch.bmm(heads_ABD, self.again_AD4D.to(outputs_BH.dtype)).transpose(0, 1)
        again_B4H = again_BA4D.unflatten(2, (4, -1)).transpose(1, 2).flatten(2)
        enter_BH, forget_BH, fresh_BH, leave_BH = (
            projected_BP.to(max_BH.dtype).unflatten(1, (4, -1)) + again_B4H
        ).unbind(1)
        lasting_BH = functional.logsigmoid(forget_BH) + max_BH
        max_BH = torch.maximum(lasting_BH, enter_BH)
        keep_BH, open_BH = torch.exp(lasting_BH - max_BH), torch.exp(enter_BH - max_BH)
        memory_BH = keep_BH * memory_BH + open_BH * torch.tanh(fresh_BH)
        total_BH = keep_BH * total_BH + open_BH
        outputs_BH = torch.sigmoid(leave_BH) * memory_BH / total_BH
        return self.norm(outputs_BH), (outputs_BH, memory_BH, total_BH, max_BH)

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone; from a kernel where one is installed and passes its test."""
        device, size = values_NI.device, self.hidden // self.heads
        if flashrnn.supports(device, size) and passes_self_test(
            self.heads, size, flashrnn.choose_dtype(device), device
        ):
            return self.run_flash_kernel(values_NI, offsets, state)
        return super().outputs(values_NI, offsets, state)

    def run_flash_kernel(
        self,
        values_NI: Tensor,
        offsets: Offsets,
        state: State | None = None,
        *,
        backend: str = "triton_fused",
    ) -> Tensor:
        """Return the outputs alone, from one of FlashRNN's kernels."""
        projected_TBP = offsets.to_grid(self.project(values_NI))
        state = state or self.init_state(values_NI, len(offsets))
        outputs_TBH = flashrnn.run_slstm(projected_TBP, self.again_AD4D, state, backend=backend)
        outputs_NH: Tensor = self.norm(offsets.from_grid(outputs_TBH))
        return outputs_NH


@cache
def passes_self_test(heads: int, size: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Compare the kernel with the definition, once; log a warning where it fails or differs."""
    try:
        error_share = _measure_error(heads, size, dtype, device)
    except flashrnn.list_kernel_errors() as error:
        logger.warning("FlashRNN's kernel does not run here (%s); it runs step by step", error)
        return False
    if not error_share < TOLERANCES[dtype]:
        logger.warning("FlashRNN's kernel is off by %.1e here; it runs step by step", error_share)
    return error_share < TOLERANCES[dtype]


@torch.enable_grad()
def _measure_error(heads: int, size: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the relative error of the kernel's outputs and gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = Slstm(8, heads * size, num_heads=heads).to(device)
        values_NI = torch.randn(5 * 24, 8).to(device)
    offsets = Offsets.from_lengths([24] * 5, device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        fast_NH = cell.run_flash_kernel(values_NI, offsets)
    with torch.autocast(device.type, enabled=False):
        slow_NH = unroll_steps(cell, values_NI, offsets)[0]
    vectors = []
    for outputs_NH in (fast_NH.float(), slow_NH):
        gradients = torch.autograd.grad(outputs_NH.square().mean(), list(cell.parameters()))
        vectors.append(torch.cat([part.flatten() for part in (outputs_NH.detach(), *gradients)]))
    return float((vectors[0] - vectors[1]).norm() / vectors[1].norm())
