"""FlashRNN's kernel for an slstm (Poeppel, Beck and Hochreiter 2024), where it is installed.

torch has no kernel for this cell, so a GPU would run one small operation after the other. (For an
lstm or a gru cuDNN's is faster, by FlashRNN's own figures, so those stay with it.) The kernel is
compiled for one length and one number of sequences, so grids are filled up to a few sizes of each.

Shapes: B sequences, T steps, H units, A heads of D units each, P = 4 H.
"""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.cell import State

HEAD_SIZES = 16, 32, 64
"""Units of a head that the kernel takes: tensor cores need 16, registers hold no more than 64."""
MIN_SIZE = 16
"""Steps and sequences of the smallest grid."""


@cache
def is_installed() -> bool:
    """Whether the optional packages are installed."""
    return find_spec("flashrnn") is not None and find_spec("triton") is not None


def list_kernel_errors() -> tuple[type[Exception], ...]:
    """List the exceptions of a kernel that this machine cannot compile or run."""
    errors = (RuntimeError, OSError, ImportError, AssertionError, AttributeError)
    if not find_spec("triton"):
        return errors
    from triton.errors import TritonError

    return (*errors, TritonError)


def choose_dtype(device: torch.device) -> torch.dtype:
    """Return the type that the kernel computes in: autocast's, or float32."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def supports(device: torch.device, size: int) -> bool:
    """Whether the kernel supports heads of this size on this device."""
    is_known_dtype = choose_dtype(device) in {torch.float32, torch.bfloat16}
    return device.type == "cuda" and size in HEAD_SIZES and is_known_dtype and is_installed()


def round_up_size(count: int) -> int:
    """Round up to the next size that is compiled: 16, 32, 64 and so on."""
    return max(MIN_SIZE, 1 << (count - 1).bit_length())


def run_slstm(
    projected_TBP: Tensor, again_AD4D: Tensor, state: State, *, backend: str = "triton_fused"
) -> Tensor:
    """Read a grid from its first step on.

    Args:
        projected_TBP: the input's share of the gates i, f, z, o, with their biases.
        again_AD4D: what each head's gates take of its last output.
        state: h, c, n and m before the first step, [B, H] each.
        backend: which of FlashRNN's; `vanilla` runs anywhere.

    Returns:
        h at every step, [T, B, H].
    """
    from flashrnn import flashrnn

    heads, size, _ = again_AD4D.shape
    steps, rows, _ = projected_TBP.shape
    dtype = choose_dtype(projected_TBP.device)
    more = round_up_size(rows) - rows
    projected_TBP = functional.pad(projected_TBP, (0, 0, 0, more, 0, round_up_size(steps) - steps))
    projected_BTGAD = projected_TBP.unflatten(2, (4, heads, size)).transpose(0, 1)
    again_GADD = again_AD4D.unflatten(2, (4, size)).permute(2, 0, 3, 1)
    start_SBH = functional.pad(torch.stack(state), (0, 0, 0, more))
    states, _ = flashrnn(
        projected_BTGAD.to(dtype).contiguous(),
        again_GADD.to(dtype).contiguous(),
        again_AD4D.new_zeros(4, heads, size, dtype=dtype),
        states=start_SBH.unflatten(2, (heads, size))[:, :, None].to(dtype).contiguous(),
        function="slstm",
        backend=backend,
        dtype=str(dtype).removeprefix("torch."),
    )
    outputs_TBAD: Tensor = states[0].transpose(0, 1)[:steps, :rows]
    return outputs_TBAD.flatten(2)
