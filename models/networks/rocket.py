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
"""Weights of each kernel."""
KERNELS = tuple(combinations(range(TAPS), 3))
"""Taps with a weight of 2, for each of the 84 kernels; the others have -1."""
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
        count = len(self.dilation_F)
        max_exponent = max(0.0, float(np.log2(max(1.0, (np.median(offsets.lengths) - 1) / 8))))
        exponents = np.linspace(0, max_exponent, count)
        self.dilation_F.copy_(torch.from_numpy(np.floor(2**exponents).astype(np.int64)))
        for dilation, features_G in self.group_by_dilation():
            outputs_NK = self.convolve(values_NC, offsets, dilation)
            # Multiples of the golden ratio, modulo 1, are evenly distributed in any number.
            golden = (5**0.5 + 1) / 2
            levels = torch.tensor([(index + 1) * golden % 1 for index in features_G.tolist()])
            # Sorting rows that lie together takes a fraction of the time.
            sorted_KN = outputs_NK.t().contiguous().sort(dim=1).values
            rank_G = (levels * (sorted_KN.shape[1] - 1)).long().to(sorted_KN.device)
            self.bias_KF[:, features_G] = sorted_KN[:, rank_G]
        shares_BKF = self.compute_shares(values_NC, offsets)
        self.mean_KF.copy_(shares_BKF.mean(dim=0))
        std_KF = shares_BKF.std(dim=0, correction=0)
        self.spread_KF.copy_(torch.where(std_KF > 1e-6, std_KF, 1.0))

    @torch.no_grad()
    def forward(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, K * F]."""
        typed_NC = values_NC.to(self.weight_JK.dtype)
        shares_BKF = self.compute_shares(typed_NC, offsets)
        return ((shares_BKF - self.mean_KF) / self.spread_KF).flatten(1)

    def group_by_dilation(self) -> list[tuple[int, Tensor]]:
        """Return each dilation with the indices of its features, [G]."""
        dilations = self.dilation_F.tolist()
        return [
            (dilation, torch.tensor([f for f, own in enumerate(dilations) if own == dilation]))
            for dilation in sorted(set(dilations))
        ]

    def compute_shares(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return the share of steps above each bias, [B, K, F]."""
        shares_BKF = values_NC.new_empty(len(offsets), *self.bias_KF.shape)
        for dilation, features_G in self.group_by_dilation():
            outputs_NK = self.convolve(values_NC, offsets, dilation)
            # One bias at a time: all at once would write a value for each of them to memory.
            outputs_TBK = offsets.to_grid(outputs_NK, fill=-torch.inf)
            for feature in features_G.tolist():
                above_TBK = outputs_TBK > self.bias_KF[:, feature]
                shares_BKF[:, :, feature] = above_TBK.to(values_NC.dtype).sum(dim=0)
        shares_BKF /= offsets.lengths_B[:, None, None]
        return shares_BKF

    def convolve(self, values_NC: Tensor, offsets: Offsets, dilation: int) -> Tensor:
        """Return every kernel's output at every step, [N, K]."""
        shifted = [
            offsets.shift(values_NC, (tap - TAPS // 2) * dilation) for tap in reversed(range(TAPS))
        ]
        return torch.cat(shifted, dim=1) @ self.weight_JK


def _draw_weights(inputs: int) -> Tensor:
    """Draw the channels of each kernel: 1, 2, 4 or up to 9 of them; return [9 C, K]."""
    weight_TCK = torch.zeros(TAPS, inputs, len(KERNELS))
    max_count = min(inputs, MAX_CHANNELS)
    for kernel, positive_taps in enumerate(KERNELS):
        count = int(2 ** (torch.rand(()) * np.log2(max_count + 1)))
        chosen = torch.randperm(inputs)[: max(1, min(count, max_count))]
        weight_T = torch.full((TAPS,), -1.0)
        weight_T[list(positive_taps)] = 2.0
        weight_TCK[:, chosen, kernel] = weight_T[:, None].expand(-1, len(chosen))
    return weight_TCK.flatten(0, 1)
