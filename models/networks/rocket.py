"""Features of random convolutions, parallel to the recurrent layers, after MiniRocket.

Dempster, Schmidt and Webb 2021: all 84 kernels of 9 taps with three weights of 2 and six of -1,
distributed over dilations; a feature is the share of steps at which a kernel's output is above a
bias, and biases are quantiles of the kernel's outputs on training sequences. Nothing here is
learned by gradients. Each kernel reads some of the channels. Unlike in the paper, sequences may
differ in length, all are padded with zeros at their own ends, and dilations follow the median
length.

Shapes: N steps of all sequences, B sequences, C channels, K = 84 kernels, F features a kernel,
J = 9 C inputs of a kernel.
"""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from models.networks.jagged import Offsets

TAPS = 9
KERNELS = tuple(combinations(range(TAPS), 3))
MAX_CHANNELS = 9
"""Channels that one kernel reads at most, as in the paper."""


class Rocket(nn.Module):
    """Shares of steps at which random convolutions exceed a bias, [B, K * F], standardized."""

    weight_JK: Tensor
    dilation_F: Tensor
    bias_KF: Tensor
    mean_KF: Tensor
    spread_KF: Tensor

    def __init__(self, inputs: int, *, features_per_kernel: int = 12) -> None:
        """Choose the channels of each kernel.

        Args:
            inputs: channels.
            features_per_kernel: F, of each of the 84 kernels.
        """
        super().__init__()
        self.channels = len(KERNELS) * features_per_kernel
        self.register_buffer("weight_JK", _draw_weights(inputs))
        self.register_buffer("dilation_F", torch.ones(features_per_kernel, dtype=torch.int64))
        for name in ("bias_KF", "mean_KF", "spread_KF"):
            start = torch.ones if name == "spread_KF" else torch.zeros
            self.register_buffer(name, start(len(KERNELS), features_per_kernel))

    @torch.no_grad()
    def fit(self, values_NC: Tensor, offsets: Offsets) -> None:
        """Choose dilations, biases and scales on training sequences."""
        values_NC = values_NC.to(self.weight_JK.dtype)
        each = len(self.dilation_F)
        farthest = max(0.0, float(np.log2(max(1.0, (np.median(offsets.lengths) - 1) / 8))))
        exponents = np.linspace(0, farthest, each)
        self.dilation_F.copy_(torch.from_numpy(np.floor(2**exponents).astype(np.int64)))
        for dilation, own_G in self.group_by_dilation():
            loud_NK = self.convolve(values_NC, offsets, dilation)
            # Multiples of the golden ratio, modulo 1, are evenly distributed in any number.
            golden = (5**0.5 + 1) / 2
            at = torch.tensor([(place + 1) * golden % 1 for place in own_G.tolist()])
            order_NK = loud_NK.sort(dim=0).values
            place = (at * (len(order_NK) - 1)).long().to(order_NK.device)
            self.bias_KF[:, own_G] = order_NK[place].t()
        shares_BKF = self.compute_shares(values_NC, offsets)
        self.mean_KF.copy_(shares_BKF.mean(dim=0))
        spread_KF = shares_BKF.std(dim=0, correction=0)
        self.spread_KF.copy_(torch.where(spread_KF > 1e-6, spread_KF, 1.0))

    @torch.no_grad()
    def forward(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, K * F]."""
        known_NC = values_NC.to(self.weight_JK.dtype)
        shares_BKF = self.compute_shares(known_NC, offsets)
        return ((shares_BKF - self.mean_KF) / self.spread_KF).flatten(1)

    def group_by_dilation(self) -> list[tuple[int, Tensor]]:
        """List the dilations, and which features have each."""
        held = self.dilation_F.tolist()
        return [
            (dilation, torch.tensor([f for f, own in enumerate(held) if own == dilation]))
            for dilation in sorted(set(held))
        ]

    def compute_shares(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return the share of steps above each bias, [B, K, F]."""
        shares_BKF = values_NC.new_empty(len(offsets), *self.bias_KF.shape)
        for dilation, own_G in self.group_by_dilation():
            loud_NK = self.convolve(values_NC, offsets, dilation)
            above_NKG = (loud_NK[:, :, None] > self.bias_KF[:, own_G]).to(values_NC.dtype)
            total_BKG = offsets.to_grid(above_NKG).sum(dim=0)
            shares_BKF[:, :, own_G] = total_BKG / offsets.lengths_B[:, None, None]
        return shares_BKF

    def convolve(self, values_NC: Tensor, offsets: Offsets, dilation: int) -> Tensor:
        """Return every kernel's output at every step, [N, K]."""
        seen = [
            offsets.shift(values_NC, (tap - TAPS // 2) * dilation) for tap in reversed(range(TAPS))
        ]
        return torch.cat(seen, dim=1) @ self.weight_JK


def _draw_weights(inputs: int) -> Tensor:
    """Draw the channels of each kernel: 1, 2, 4 or up to 9 of them; return [9 C, K]."""
    weight_TCK = torch.zeros(TAPS, inputs, len(KERNELS))
    most = min(inputs, MAX_CHANNELS)
    for place, loud in enumerate(KERNELS):
        count = int(2 ** (torch.rand(()) * np.log2(most + 1)))
        chosen = torch.randperm(inputs)[: max(1, min(count, most))]
        weight_T = torch.full((TAPS,), -1.0)
        weight_T[list(loud)] = 2.0
        weight_TCK[:, chosen, place] = weight_T[:, None].expand(-1, len(chosen))
    return weight_TCK.flatten(0, 1)
