"""A GRU with the compiled kernel, which computes the steps that depend on each other.

All else (the projection of the input, the gradients of the weights) is products of large matrices,
which torch computes at the processor's full rate.

Shapes: N steps of all sequences, B sequences, I inputs, H units, G = 3 H gates.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.networks.cell import State
from models.networks.jagged import Offsets
from models.networks.native.call import KernelLibrary
from models.networks.native.kernels import select_kernels


def run_gru(
    layer: nn.RNNBase, values_NI: Tensor, offsets: Offsets, state: State
) -> tuple[Tensor, State] | None:
    """Read whole sequences with the weights of torch's layer; None where no kernel is available.

    Returns:
        the outputs, [N, H], and the last states, ([B, H],).
    """
    if offsets.max_length < 2:
        # A single step is only a matrix product, which torch computes.
        return None
    kernels = select_kernels(values_NI, *state, *layer.all_weights[0])
    if kernels is None:
        return None
    start_BH = state[0].contiguous()
    outputs_NH: Tensor = _GruFunction.apply(  # type: ignore[no-untyped-call]
        kernels, offsets, values_NI, start_BH, *layer.all_weights[0]
    )
    return outputs_NH, (outputs_NH.index_select(0, offsets.last_B),)


class _GruFunction(torch.autograd.Function):
    """The outputs of a GRU, [N, H], and their gradients.

    `gates_N4H` holds candidate, reset, update and the candidate's U h' + d, in this order: the
    gradients of the first three belong to the input's weights, those of the last three to the
    recurrent weights.
    """

    @staticmethod
    def forward(ctx: Any, kernels: KernelLibrary, offsets: Offsets, *parts: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Run the kernel; `parts` are values, initial state, and torch's four weights in order."""
        values_NI, start_BH, weight_GI, weight_GH, bias_G, recurrent_bias_G = parts
        hidden = start_BH.shape[1]
        gates_N4H = values_NI.new_empty(len(values_NI), 4 * hidden)
        outputs_NH = values_NI.new_empty(len(values_NI), hidden)
        rolled_GI = weight_GI.roll(hidden, 0)
        torch.mm(values_NI, rolled_GI.t(), out=gates_N4H[:, : 3 * hidden])
        kernels.call(
            "gru_forward",
            offsets,
            weight_GH,
            bias_G,
            recurrent_bias_G,
            start_BH,
            gates_N4H,
            outputs_NH,
            hidden=hidden,
        )
        ctx.kernels, ctx.offsets = kernels, offsets
        ctx.save_for_backward(values_NI, start_BH, rolled_GI, weight_GH, gates_N4H, outputs_NH)
        return outputs_NH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NH: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        """Run the backward kernel, then compute the gradients of the weights."""
        values_NI, start_BH, rolled_GI, weight_GH, gates_N4H, outputs_NH = ctx.saved_tensors
        hidden = start_BH.shape[1]
        to_gates_N4H, before_NH = torch.empty_like(gates_N4H), torch.empty_like(outputs_NH)
        to_start_BH = torch.zeros_like(start_BH)
        ctx.kernels.call(
            "gru_backward",
            ctx.offsets,
            weight_GH,
            start_BH,
            gates_N4H,
            outputs_NH,
            grad_NH.contiguous(),
            to_gates_N4H,
            before_NH,
            to_start_BH,
            hidden=hidden,
        )
        to_input_NG, to_recurrent_NG = to_gates_N4H[:, : 3 * hidden], to_gates_N4H[:, hidden:]
        sums_4H = _bias_gradient(to_gates_N4H)
        to_values_NI = to_input_NG @ rolled_GI if ctx.needs_input_grad[2] else None
        return (
            None,
            None,
            to_values_NI,
            to_start_BH,
            _weight_gradient(to_input_NG, values_NI).roll(-hidden, 0),
            _weight_gradient(to_recurrent_NG, before_NH),
            sums_4H[: 3 * hidden].roll(-hidden),
            sums_4H[hidden:],
        )


def _weight_gradient(grad_NG: Tensor, inputs_NI: Tensor) -> Tensor:
    """Return the gradient of a weight, [G, I]; MKL is faster with the many columns last."""
    return (inputs_NI.t() @ grad_NG).t().contiguous()


def _bias_gradient(grad_NG: Tensor) -> Tensor:
    """Return the gradient of a bias; a product with ones takes half the time of a sum."""
    return grad_NG.t() @ grad_NG.new_ones(len(grad_NG))
