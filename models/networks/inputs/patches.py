"""Several steps read together, by one linear layer (SegRNN, Lin et al. 2023).

Patches are counted from each sequence's end, which matters most to a forecast; the first one is
padded with zeros in front.

Shapes: N steps of all sequences, M segments of all sequences, S steps of each, I inputs, H units.
"""

import torch
from torch import Tensor, nn

from models.networks.convolution import downsample_offsets
from models.networks.jagged import Offsets


class PatchDownsample(nn.Module):
    """A linear layer over the steps of each segment."""

    def __init__(self, inputs: int, hidden: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.read = nn.Linear(inputs * stride, hidden)

    def forward(self, values_NI: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the segments, [M, H], and where each sequence's lie."""
        fewer = downsample_offsets(offsets, self.stride)
        left_M = fewer.repeat_per_step(fewer.last_B) - torch.arange(
            fewer.num_steps, device=offsets.device
        )
        last_M = fewer.repeat_per_step(offsets.last_B) - left_M * self.stride
        back_S = torch.arange(self.stride - 1, -1, -1, device=offsets.device)
        place_MS = last_M[:, None] - back_S
        here_MS = place_MS >= fewer.repeat_per_step(offsets.first_B)[:, None]
        taken_NI = values_NI.index_select(0, place_MS.clamp(min=0).flatten())
        taken_MSI = taken_NI.view(*place_MS.shape, -1) * here_MS[:, :, None]
        return torch.relu(self.read(taken_MSI.flatten(1))), fewer
