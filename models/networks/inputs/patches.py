"""Several steps read together, by one linear layer (SegRNN, Lin et al. 2023).

Patches are counted from each sequence's end, which matters most to a forecast; the first one is
padded with zeros in front.

Shapes: N steps of all sequences, M patches of all sequences, S steps of each, I inputs, H units.
"""

import torch
from torch import Tensor, nn

from models.networks.convolution import downsample_offsets
from models.networks.jagged import Offsets


class PatchDownsample(nn.Module):
    """A linear layer over the steps of each patch."""

    def __init__(self, inputs: int, hidden: int, *, stride: int) -> None:
        super().__init__()
        self.stride, self.channels = stride, hidden
        self.read = nn.Linear(inputs * stride, hidden)

    def forward(self, values_NI: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the patches, [M, H], and their offsets."""
        patches = downsample_offsets(offsets, self.stride)
        remaining_M = patches.repeat_per_step(patches.last_B) - torch.arange(
            patches.num_steps, device=offsets.device
        )
        last_M = patches.repeat_per_step(offsets.last_B) - remaining_M * self.stride
        back_S = torch.arange(self.stride - 1, -1, -1, device=offsets.device)
        index_MS = last_M[:, None] - back_S
        is_within_MS = index_MS >= patches.repeat_per_step(offsets.first_B)[:, None]
        patch_NI = values_NI.index_select(0, index_MS.clamp(min=0).flatten())
        patch_MSI = patch_NI.view(*index_MS.shape, -1) * is_within_MS[:, :, None]
        return torch.relu(self.read(patch_MSI.flatten(1))), patches
