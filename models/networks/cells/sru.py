"""Simple recurrent units (Lei et al. 2018), second form: each unit reads its own memory only.

f = sigmoid(W_f x + v_f c' + b_f)
c = f c' + (1 - f) W x
r = sigmoid(W_r x + v_r c' + b_r)
h = r c + (1 - r) a x            a = sqrt(3), the paper's scale where b_r begins at 0

Where inputs and units differ in number, x of the last line is projected first. All products with
matrices happen for all steps at once; what is left step by step is cheap, and the way back through
it is a linear scan.

Shapes: N steps, T steps of a grid, B sequences, I inputs, H units.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from models.networks.cell import Cell, State
from models.networks.cells.scan import scan_backwards, shift_states
from models.networks.jagged import Offsets
from models.networks.native.kernels import select_kernels
from models.networks.native.scans import run_scan

HIGHWAY = sqrt(3.0)
"""Scale of the highway connection."""
KEEP_ALL = 1e4
"""Input of a forget gate that keeps the whole memory, where a sequence has ended."""


class Sru(Cell):
    """A light recurrence with a highway connection."""

    has_kernel = True

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, 3 * hidden, bias=False)
        self.past = nn.Linear(inputs, hidden, bias=False) if inputs != hidden else nn.Identity()
        self.recall_2H = nn.Parameter(torch.empty(2, hidden).uniform_(-1, 1) / sqrt(hidden))
        self.bias_2H = nn.Parameter(torch.zeros(2, hidden))
        bound = sqrt(3 / inputs)
        with torch.no_grad():
            self.input.weight.uniform_(-bound, bound)

    def project(self, inputs_NI: Tensor) -> Tensor:
        """Return the candidate, the projections of both gates, and the highway connection."""
        fresh_NH, forget_NH, reset_NH = self.input(inputs_NI).chunk(3, dim=1)
        gates = [forget_NH + self.bias_2H[0], reset_NH + self.bias_2H[1]]
        return torch.cat([fresh_NH, *gates, HIGHWAY * self.past(inputs_NI)], dim=1)

    def advance(self, projected_BP: Tensor, state: State) -> tuple[Tensor, State]:
        """Move one step on."""
        fresh_BH, forget_BH, reset_BH, past_BH = projected_BP.chunk(4, dim=1)
        recall_2H, memory_BH = self.recall_2H, state[0]
        forget_BH = torch.sigmoid(torch.addcmul(forget_BH, recall_2H[0], memory_BH))
        reset_BH = torch.sigmoid(torch.addcmul(reset_BH, recall_2H[1], memory_BH))
        memory_BH = torch.lerp(fresh_BH, memory_BH, forget_BH)
        return torch.lerp(past_BH, memory_BH, reset_BH), (memory_BH,)

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences."""
        [start_BH] = state or self.init_state(values_NI, len(offsets))
        if (kernels := select_kernels(values_NI, start_BH, *self.parameters())) is not None:
            flat = self.input(values_NI), HIGHWAY * self.past(values_NI)
            shared_4H = torch.cat([self.recall_2H, self.bias_2H]).flatten()
            outputs_NH, ends_BH = run_scan(
                kernels, "sru", offsets, *flat, start=start_BH, shared=shared_4H
            )
            return outputs_NH, (ends_BH,)
        return self.run_scan(values_NI, offsets, start_BH)

    def run_scan(
        self, values_NI: Tensor, offsets: Offsets, start_BH: Tensor
    ) -> tuple[Tensor, State]:
        """Compute the steps one by one with torch."""
        projected_NP = self.project(values_NI)
        projected_NP = projected_NP if projected_NP.dtype.itemsize >= 4 else projected_NP.float()
        fresh_NH, forget_NH, reset_NH, past_NH = projected_NP.chunk(4, dim=1)
        memory_TBH: Tensor = _ScanMemory.apply(  # type: ignore[no-untyped-call]
            offsets.to_grid(fresh_NH),
            offsets.to_grid(forget_NH, fill=KEEP_ALL),
            self.recall_2H[0],
            start_BH.to(projected_NP.dtype),
        )
        before_NH = offsets.from_grid(shift_states(memory_TBH, start_BH.to(projected_NP.dtype)))
        reset_NH = torch.sigmoid(torch.addcmul(reset_NH, self.recall_2H[1], before_NH))
        return torch.lerp(past_NH, offsets.from_grid(memory_TBH), reset_NH), (memory_TBH[-1],)


class _ScanMemory(torch.autograd.Function):
    """The memory at every step, and its gradient."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Compute the steps; `parts` are candidates, forget projections, recall and start."""
        fresh_TBH, forget_TBH, recall_H, start_BH = parts
        gate_TBH, memory_TBH = torch.empty_like(fresh_TBH), torch.empty_like(fresh_TBH)
        last_BH = start_BH
        steps = (part.unbind() for part in (fresh_TBH, forget_TBH, gate_TBH, memory_TBH))
        for fresh_BH, forget_BH, gate_BH, memory_BH in zip(*steps, strict=True):
            torch.addcmul(forget_BH, recall_H, last_BH, out=gate_BH).sigmoid_()
            last_BH = torch.lerp(fresh_BH, last_BH, gate_BH, out=memory_BH)
        ctx.save_for_backward(fresh_TBH, gate_TBH, memory_TBH, recall_H, start_BH)
        return memory_TBH

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, ...]:
        """Scan backwards: each step passes on its gradient by one factor a unit."""
        fresh_TBH, gate_TBH, memory_TBH, recall_H, start_BH = ctx.saved_tensors  # type: ignore[attr-defined]
        before_TBH = shift_states(memory_TBH, start_BH)
        by_gate_TBH = (before_TBH - fresh_TBH) * gate_TBH * (1 - gate_TBH)
        factor_TBH = torch.addcmul(gate_TBH, by_gate_TBH, recall_H)
        flow_TBH = scan_backwards(factor_TBH, grads[0])
        to_forget_TBH = flow_TBH * by_gate_TBH
        to_recall_H = (to_forget_TBH * before_TBH).sum((0, 1))
        return flow_TBH * (1 - gate_TBH), to_forget_TBH, to_recall_H, factor_TBH[0] * flow_TBH[0]
