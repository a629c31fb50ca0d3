"""GRU and LSTM through the compiled kernels: the steps that depend on each other are the kernel's.

What does not (the input's share of all gates, the gradients of the weights) are products of
large matrices, which torch does at the processor's pace.

Shapes: N steps of all sequences, B sequences, I inputs, H units, G gates of all units.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.networks.cell import State
from models.networks.jagged import Offsets
from models.networks.native.call import Kernels
from models.networks.native.kernels import kernels_for


def read_gru(
    layer: nn.RNNBase, values_NI: Tensor, offsets: Offsets, state: State
) -> tuple[Tensor, State] | None:
    """Read whole sequences with the weights of torch's layer; nothing where no kernel can."""
    ours = usable(layer, values_NI, offsets, state)
    if ours is None:
        return None
    start_BH = state[0].contiguous()
    outputs_NH: Tensor = ReadGru.apply(  # type: ignore[no-untyped-call]
        ours, offsets, values_NI, start_BH, *layer.all_weights[0]
    )
    return outputs_NH, (outputs_NH.index_select(0, offsets.last_B),)


def read_lstm(
    layer: nn.RNNBase, values_NI: Tensor, offsets: Offsets, state: State
) -> tuple[Tensor, State] | None:
    """Read whole sequences with the weights of torch's layer; nothing where no kernel can."""
    ours = usable(layer, values_NI, offsets, state)
    if ours is None:
        return None
    start = [part.contiguous() for part in state]
    outputs_NH, cell_BH = ReadLstm.apply(  # type: ignore[no-untyped-call]
        ours, offsets, values_NI, *start, *layer.all_weights[0]
    )
    return outputs_NH, (outputs_NH.index_select(0, offsets.last_B), cell_BH)


def usable(layer: nn.RNNBase, values_NI: Tensor, offsets: Offsets, state: State) -> Kernels | None:
    """Return the kernels where they are of use; a single step is all product, which is torch's."""
    if offsets.longest < 2:
        return None
    return kernels_for(values_NI, *state, *layer.all_weights[0])


def product(slopes_NG: Tensor, read_NI: Tensor) -> Tensor:
    """Return the gradient of a weight, [G, I]; MKL is faster with the many columns behind."""
    return (read_NI.t() @ slopes_NG).t().contiguous()


def summed(slopes_NG: Tensor) -> Tensor:
    """Return the gradient of a bias; a product with ones takes half the time of a sum."""
    return slopes_NG.t() @ slopes_NG.new_ones(len(slopes_NG))


class ReadGru(torch.autograd.Function):
    """The outputs of a GRU, [N, H], and their gradients.

    Its kernel keeps fresh, reset, keep and the fresh drive's U h' + d, in this order: the first
    three drives are the input's, the last three (on the way back) the last output's.
    """

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, offsets: Offsets, *parts: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Read; `parts` are values, start, and the four weights as torch orders them."""
        values_NI, start_BH, weight_GI, weight_GH, bias_G, again_G = parts
        hidden = start_BH.shape[1]
        gates_N4H = values_NI.new_empty(len(values_NI), 4 * hidden)
        outputs_NH = values_NI.new_empty(len(values_NI), hidden)
        turned_GI = weight_GI.roll(hidden, 0)
        torch.mm(values_NI, turned_GI.t(), out=gates_N4H[:, : 3 * hidden])
        kernels.call(
            "gru_forward",
            offsets,
            weight_GH,
            bias_G,
            again_G,
            start_BH,
            gates_N4H,
            outputs_NH,
            hidden=hidden,
        )
        ctx.kernels, ctx.offsets = kernels, offsets
        ctx.save_for_backward(values_NI, start_BH, turned_GI, weight_GH, gates_N4H, outputs_NH)
        return outputs_NH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes_NH: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        """Go back through time, then to the weights."""
        values_NI, start_BH, turned_GI, weight_GH, gates_N4H, outputs_NH = ctx.saved_tensors
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
            slopes_NH.contiguous(),
            to_gates_N4H,
            before_NH,
            to_start_BH,
            hidden=hidden,
        )
        to_input_NG, to_again_NG = to_gates_N4H[:, : 3 * hidden], to_gates_N4H[:, hidden:]
        sums_4H = summed(to_gates_N4H)
        to_values_NI = to_input_NG @ turned_GI if ctx.needs_input_grad[2] else None
        return (
            None,
            None,
            to_values_NI,
            to_start_BH,
            product(to_input_NG, values_NI).roll(-hidden, 0),
            product(to_again_NG, before_NH),
            sums_4H[: 3 * hidden].roll(-hidden),
            sums_4H[hidden:],
        )


class ReadLstm(torch.autograd.Function):
    """The outputs of an LSTM, [N, H], and its last memories, [B, H], and their gradients."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        kernels: Kernels,
        offsets: Offsets,
        *parts: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Read; `parts` are values, first output and memory, and the four weights."""
        values_NI, start_BH, cell_BH, weight_GI, weight_GH, bias_G, again_G = parts
        hidden = start_BH.shape[1]
        gates_NG = torch.mm(values_NI, weight_GI.t())
        cells_NH, outputs_NH = values_NI.new_empty(2, len(values_NI), hidden)
        kernels.call(
            "lstm_forward",
            offsets,
            weight_GH,
            bias_G,
            again_G,
            start_BH,
            cell_BH,
            gates_NG,
            cells_NH,
            outputs_NH,
            hidden=hidden,
        )
        ctx.kernels, ctx.offsets = kernels, offsets
        ctx.save_for_backward(
            values_NI, start_BH, cell_BH, weight_GI, weight_GH, gates_NG, cells_NH, outputs_NH
        )
        return outputs_NH, cells_NH.index_select(0, offsets.last_B)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        """Go back through time, then to the weights."""
        values_NI, start_BH, cell_BH, weight_GI, weight_GH, *read = ctx.saved_tensors
        to_gates_NG, before_NH = torch.empty_like(read[0]), torch.empty_like(read[2])
        to_start_BH, to_cell_BH = torch.zeros_like(start_BH), slopes[1].clone()
        ctx.kernels.call(
            "lstm_backward",
            ctx.offsets,
            weight_GH,
            start_BH,
            cell_BH,
            *read,
            slopes[0].contiguous(),
            to_gates_NG,
            before_NH,
            to_start_BH,
            to_cell_BH,
            hidden=start_BH.shape[1],
        )
        sums_G = summed(to_gates_NG)
        to_values_NI = to_gates_NG @ weight_GI if ctx.needs_input_grad[2] else None
        to_input_GI = product(to_gates_NG, values_NI)
        to_again_GH = product(to_gates_NG, before_NH)
        # The same for both biases, but each is a parameter of its own.
        return (
            *(None, None, to_values_NI, to_start_BH, to_cell_BH, to_input_GI, to_again_GH),
            *(sums_G, sums_G.clone()),
        )
