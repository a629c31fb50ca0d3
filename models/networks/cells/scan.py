"""Linear recurrences over time, h_t = a_t h_{t-1} + b_t, for whole grids at once.

The gradient of a scan is a scan backwards, so that only the states have to be stored. On the
CPU the steps are taken one by one, each a single fused multiply-add into its place, which is
faster there than any form that does more work to be parallel; elsewhere in log2 T rounds, each
reaching twice as far back (Hillis and Steele 1986). `log_space_scan` is the form of minGRU's paper
(Feng et al. 2024, after Heinsen 2023), for positive numbers, by cumulative sums alone.

Shapes: T steps, B sequences, H units. Real or complex.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def linear_scan(keep_TBH: Tensor, enter_TBH: Tensor, start_BH: Tensor) -> Tensor:
    """Return the states after every step, [T, B, H].

    Args:
        keep_TBH: factor of the last state; 1 where a sequence has ended.
        enter_TBH: what is added; 0 where a sequence has ended.
        start_BH: state before the first step.
    """
    # Sums over many steps need more digits than bf16 has.
    keep_TBH, enter_TBH, start_BH = (
        part if part.dtype.itemsize >= 4 else part.float()
        for part in (keep_TBH, enter_TBH, start_BH)
    )
    states_TBH: Tensor = _LinearScan.apply(keep_TBH, enter_TBH, start_BH)  # type: ignore[no-untyped-call]
    return states_TBH


def shift_states(states_TBH: Tensor, start_BH: Tensor) -> Tensor:
    """Return the state before each step."""
    return torch.cat([start_BH[None], states_TBH[:-1]])


def scan_backwards(keep_TBH: Tensor, grad_TBH: Tensor) -> Tensor:
    """Propagate each step's gradient to the steps before it: f_t = s_t + a_{t+1} f_{t+1}."""
    keep_TBH, grad_TBH = keep_TBH.resolve_conj(), grad_TBH.resolve_conj()
    ahead_TBH = torch.cat([keep_TBH[1:], torch.zeros_like(keep_TBH[:1])]).flip(0)
    nothing_BH = torch.zeros_like(grad_TBH[0])
    return scan_forwards(ahead_TBH, grad_TBH.flip(0), nothing_BH).flip(0)


def scan_forwards(keep_TBH: Tensor, enter_TBH: Tensor, start_BH: Tensor) -> Tensor:
    """Scan, without a gradient."""
    if keep_TBH.device.type != "cpu":
        return scan_by_doubling(keep_TBH, enter_TBH, start_BH)
    states_TBH = torch.empty_like(enter_TBH, memory_format=torch.contiguous_format)
    last_BH = start_BH
    steps = zip(keep_TBH.unbind(), enter_TBH.unbind(), states_TBH.unbind(), strict=True)
    for keep_BH, enter_BH, state_BH in steps:
        last_BH = torch.addcmul(enter_BH, keep_BH, last_BH, out=state_BH)
    return states_TBH


def scan_by_doubling(keep_TBH: Tensor, enter_TBH: Tensor, start_BH: Tensor) -> Tensor:
    """Scan in rounds that reach one, two, four, ... steps back."""
    first_1BH = torch.addcmul(enter_TBH[:1], keep_TBH[:1], start_BH[None])
    states_TBH = torch.cat([first_1BH, enter_TBH[1:]])
    distance = 1
    while distance < len(states_TBH):
        later_TBH = torch.addcmul(
            states_TBH[distance:], keep_TBH[distance:], states_TBH[:-distance]
        )
        states_TBH = torch.cat([states_TBH[:distance], later_TBH])
        keep_TBH = torch.cat([keep_TBH[:distance], keep_TBH[distance:] * keep_TBH[:-distance]])
        distance *= 2
    return states_TBH


def log_space_scan(log_keep_TBH: Tensor, log_enter_TBH: Tensor, log_start_BH: Tensor) -> Tensor:
    """Scan positive numbers given as logarithms; return the states themselves, [T, B, H]."""
    log_decay_TBH = log_keep_TBH.cumsum(0)
    log_added_TBH = torch.cat([log_start_BH[None], log_enter_TBH - log_decay_TBH])
    return (log_decay_TBH + log_added_TBH.logcumsumexp(0)[1:]).exp()


class _LinearScan(torch.autograd.Function):
    """The scan with its gradient."""

    @staticmethod
    def forward(ctx: Any, keep_TBH: Tensor, enter_TBH: Tensor, start_BH: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Scan forwards."""
        states_TBH = scan_forwards(keep_TBH, enter_TBH, start_BH)
        ctx.save_for_backward(keep_TBH, states_TBH, start_BH)
        return states_TBH

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scan backwards."""
        keep_TBH, states_TBH, start_BH = ctx.saved_tensors  # type: ignore[attr-defined]
        flow_TBH = scan_backwards(keep_TBH.conj(), grads[0])
        before_TBH = shift_states(states_TBH, start_BH)
        return flow_TBH * before_TBH.conj(), flow_TBH, keep_TBH[0].conj() * flow_TBH[0]
