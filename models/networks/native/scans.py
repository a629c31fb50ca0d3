"""Cells with an elementwise recurrence, through the compiled kernels.

The projections of the input are matrix products over all steps at once, which torch computes.
Gates, states and outputs take one pass over each sequence, and their gradients another.

Shapes: N steps of all sequences, B sequences, H units, W numbers that all sequences share.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.networks.jagged import Offsets
from models.networks.native.call import KernelLibrary

_WITH_SEPARATE_MEMORY = {"qrnn", "sru"}
"""Kernels whose outputs differ from their state."""


def run_scan(
    kernels: KernelLibrary,
    name: str,
    offsets: Offsets,
    *flat: Tensor,
    start: Tensor,
    shared: Tensor,
) -> tuple[Tensor, Tensor]:
    """Read whole sequences with the kernel of this name.

    Args:
        kernels: the library.
        name: of the cell.
        offsets: of the sequences.
        flat: the cell's inputs at each step, [N, ...].
        start: the state before the first step, [B, ...].
        shared: parameters that all steps share, [W].

    Returns:
        the outputs, [N, ...], and the memory after each sequence's last step, as `start`.
    """
    parts = (part.contiguous() for part in (start, shared, *flat))
    outputs, ends = _ScanFunction.apply(kernels, name, offsets, *parts)  # type: ignore[no-untyped-call]
    return outputs, ends


class _ScanFunction(torch.autograd.Function):
    """Outputs and last memories, and their gradients."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        kernels: KernelLibrary,
        name: str,
        offsets: Offsets,
        *parts: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run the kernel; `parts` are the initial state, the shared parameters, and the inputs."""
        start, _, inputs, *_ = parts
        results = [
            inputs.new_empty(len(inputs), start.shape[1])
            for _ in range(1 + (name in _WITH_SEPARATE_MEMORY))
        ]
        hidden = ctx.hidden = start.shape[1] // (2 if name == "lru" else 1)
        kernels.call(f"{name}_forward", offsets, *parts, *results, hidden=hidden)
        ctx.kernels, ctx.name, ctx.offsets = kernels, name, offsets
        ctx.save_for_backward(*parts, *results)
        return results[-1], results[0].index_select(0, offsets.last_B)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        """Run the backward kernel; return the gradients of `parts`."""
        parts = ctx.saved_tensors
        _, shared_W, *flat = parts[: -1 - (ctx.name in _WITH_SEPARATE_MEMORY)]
        to_start = grads[1].clone(memory_format=torch.contiguous_format)
        sums_BW = shared_W.new_zeros(len(to_start), len(shared_W))
        to_flat = [torch.empty_like(part) for part in flat]
        ctx.kernels.call(
            f"{ctx.name}_backward",
            ctx.offsets,
            *parts,
            grads[0].contiguous(),
            to_start,
            sums_BW,
            *to_flat,
            hidden=ctx.hidden,
        )
        return None, None, None, to_start, sums_BW.sum(0), *to_flat
