"""One-dimensional convolution over the steps of each sequence, never across its ends.

y[t] = bias + sum over taps k of W[k] x[t + ahead - (K - 1 - k) dilation]

with zeros beyond a sequence's ends, or the steps before it from a state. The sequences
are concatenated in one buffer with a gap between neighbors, so that one call of torch's kernel
reads them all and nothing is computed for padding.

The outputs of a convolution are normalized over the channels of each step (LayerNorm, Ba, Kiros
and Hinton 2016), never over the batch: with BatchNorm a step's value would depend on which
sequences share its batch in training, and on running means of other data in serving, which
batches of unequal lengths estimate badly.

Shapes: N steps of all sequences, B sequences, I inputs, H units, K taps, R steps before
a step that it depends on, S rows of the buffer, P positions in one.
"""

import itertools
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.config import FRONT_CHANNELS
from models.networks.jagged import Offsets

_FRONT_KERNELS = (8, 5, 3)
"""Steps that the front's convolutions see."""


def convolve(
    values_NI: Tensor,
    offsets: Offsets,
    weight_HIK: Tensor,
    *,
    bias_H: Tensor,
    dilation: int = 1,
    ahead: int = 0,
    before_BRI: Tensor | None = None,
) -> Tensor:
    """Convolve all sequences at once, [N, H].

    Args:
        values_NI: the steps.
        offsets: of the sequences.
        weight_HIK: the taps, the oldest first.
        bias_H: added to every output.
        dilation: steps from one tap to the next.
        ahead: steps that the last tap looks ahead; 0 makes the convolution causal.
        before_BRI: the R = (K - 1) * dilation steps before each sequence; only where causal.
    """
    if before_BRI is None and not ahead:
        # Taps that reach behind the beginning of every sequence read zeros only.
        weight_HIK = weight_HIK[:, :, -(1 + (offsets.max_length - 1) // dilation) :]
    behind = (weight_HIK.shape[2] - 1) * dilation - ahead
    if offsets.is_uniform:
        buffer_SPI = _pad_equal_lengths(
            values_NI, offsets, behind=behind, ahead=ahead, before=before_BRI
        )
    else:
        buffer_SPI = _join_with_gaps(
            values_NI, offsets, behind=behind, ahead=ahead, before=before_BRI
        )
    # As an image of one row with its channels last: the buffer is in that order already.
    image = functional.conv2d(
        buffer_SPI.transpose(1, 2)[:, :, None],
        weight_HIK[:, :, None],
        bias_H,
        dilation=(1, dilation),
    )
    outputs_PH = image[:, :, 0].transpose(1, 2).flatten(0, 1)
    if offsets.is_uniform:
        return outputs_PH
    return outputs_PH.index_select(0, _find_gapped_positions(offsets, max(behind, ahead)))


class Cnn(nn.Module):
    """One layer: convolution, LayerNorm over channels, GELU."""

    def __init__(self, inputs: int, hidden: int, *, kernel_size: int = 5) -> None:
        super().__init__()
        self.hidden = hidden
        self.convolution = _Convolution(inputs, hidden, kernel_size=kernel_size)
        self.norm = nn.LayerNorm(hidden)

    def outputs(
        self, values_NI: Tensor, offsets: Offsets, state: tuple[()] | None = None
    ) -> Tensor:
        """Return [N, H]; there is no initial state."""
        del state
        return functional.gelu(self.norm(self.convolution(values_NI, offsets)))

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: tuple[()] | None = None
    ) -> tuple[Tensor, tuple[()]]:
        """Read whole sequences; a step sees those after it, so no state is left."""
        return self.outputs(values_NI, offsets, state), ()


class Fcn(nn.Module):
    """The fully convolutional branch of LSTM-FCN (Karim et al. 2018): one vector a sequence.

    Three convolutions that see 8, 5 and 3 steps, the middle one twice as wide, and their mean
    over the steps. The paper normalizes over the batch; here each step is normalized alone.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.channels = hidden
        self.layers = nn.ModuleList(
            [
                Cnn(inputs, hidden, kernel_size=8),
                Cnn(hidden, 2 * hidden, kernel_size=5),
                Cnn(2 * hidden, hidden, kernel_size=3),
            ]
        )

    def forward(self, values_NI: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, H]."""
        for layer in self.layers:
            values_NI = layer(values_NI, offsets)[0]
        return offsets.to_grid(values_NI).sum(dim=0) / offsets.lengths_B[:, None]


def downsample_offsets(offsets: Offsets, stride: int) -> Offsets:
    """Return the offsets of sequences of ceil(length / stride) steps."""
    return Offsets.from_lengths(-(-offsets.lengths // stride), offsets.device)


class Downsample(nn.Module):
    """The front of a CRNN (Shi, Bai and Yao 2015): convolutions, then the maximum of some steps.

    The convolutions see 8, 5 and 3 steps, as those of an FCN (Wang, Yan and Oates 2017), of the
    values and of their change from step to step: what a class is known by is often the change, and
    few rows do not teach a convolution to subtract.
    """

    def __init__(self, inputs: int, *, stride: int = 4) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        self.stride, self.channels = stride, FRONT_CHANNELS[-1]
        sizes = itertools.pairwise((2 * inputs, *FRONT_CHANNELS))
        self.layers = nn.ModuleList(
            Cnn(before, after, kernel_size=kernel)
            for (before, after), kernel in zip(sizes, _FRONT_KERNELS, strict=True)
        )

    def forward(self, values_NI: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the downsampled steps, [M, channels], and their offsets."""
        values_NI = torch.cat([values_NI, _subtract_previous(values_NI, offsets)], dim=1)
        for layer in self.layers:
            values_NI = layer(values_NI, offsets)[0]
        return _max_pool(values_NI, offsets, self.stride), downsample_offsets(offsets, self.stride)


def _subtract_previous(values_NI: Tensor, offsets: Offsets) -> Tensor:
    """Return the change from each step to the next, zero at a sequence's first, [N, I]."""
    change_NI = functional.pad(values_NI[1:] - values_NI[:-1], (0, 0, 1, 0))
    return change_NI.index_fill(0, offsets.first_B, 0.0)


def _find_gapped_positions(offsets: Offsets, gap: int) -> Tensor:
    """Return the position of each step when sequences are `gap` positions apart, [N]."""
    return offsets.step_N + offsets.repeat_per_step(
        offsets.first_B + gap * _number_sequences(offsets)
    )


def _number_sequences(offsets: Offsets) -> Tensor:
    """Return the number of each sequence, [B]."""
    return torch.arange(len(offsets), device=offsets.device)


def _pad_equal_lengths(
    values_NI: Tensor, offsets: Offsets, *, behind: int, ahead: int, before: Tensor | None
) -> Tensor:
    """Pad equally long sequences at both ends, [B, behind + T + ahead, I]."""
    values_BTI = values_NI.view(len(offsets), offsets.max_length, -1)
    if before is None:
        return functional.pad(values_BTI, (0, 0, behind, ahead))
    return torch.cat([before.to(values_BTI.dtype), values_BTI], dim=1)


def _join_with_gaps(
    values_NI: Tensor, offsets: Offsets, *, behind: int, ahead: int, before: Tensor | None
) -> Tensor:
    """Concatenate sequences, so far apart that none sees its neighbor, [1, P, I]."""
    gap = max(behind, ahead)
    positions = offsets.num_steps + (len(offsets) - 1) * gap + behind + ahead
    buffer_PI = values_NI.new_zeros(positions, values_NI.shape[1])
    buffer_PI = buffer_PI.index_copy(0, _find_gapped_positions(offsets, gap) + behind, values_NI)
    if before is not None:
        begin_B1 = (offsets.first_B + gap * _number_sequences(offsets))[:, None]
        index_BR = begin_B1 + torch.arange(behind, device=offsets.device)
        buffer_PI = buffer_PI.index_copy(
            0, index_BR.flatten(), before.flatten(0, 1).to(values_NI.dtype)
        )
    return buffer_PI[None]


class _Convolution(nn.Module):
    """A convolution with as many outputs as steps ('same'), initialized as torch's own."""

    def __init__(self, inputs: int, hidden: int, *, kernel_size: int) -> None:
        super().__init__()
        if kernel_size < 1:
            raise ValueError(f"kernel_size must be at least 1, got {kernel_size}")
        self.hidden, self.ahead = hidden, kernel_size // 2
        bound = 1 / sqrt(inputs * kernel_size)
        self.weight_HIK = nn.Parameter(
            torch.empty(hidden, inputs, kernel_size).uniform_(-bound, bound)
        )
        self.bias_H = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))

    def forward(self, values_NI: Tensor, offsets: Offsets) -> Tensor:
        """Return [N, H]."""
        return convolve(values_NI, offsets, self.weight_HIK, bias_H=self.bias_H, ahead=self.ahead)


def _max_pool(values_NH: Tensor, offsets: Offsets, stride: int) -> Tensor:
    """Return the maximum of every `stride` steps; of fewer at a sequence's end."""
    pooled = downsample_offsets(offsets, stride)
    begin_M = pooled.step_N * stride + offsets.first_B[pooled.sequence_N]
    # Repeating the last step instead of a missing one changes no maximum.
    index_MS = begin_M[:, None] + torch.arange(stride, device=offsets.device)
    index_MS = index_MS.minimum(pooled.repeat_per_step(offsets.last_B)[:, None])
    grouped_MSH = values_NH.index_select(0, index_MS.flatten()).view(*index_MS.shape, -1)
    return grouped_MSH.max(dim=1).values
