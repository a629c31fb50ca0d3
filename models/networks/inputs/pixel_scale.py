"""Standardization of pixels, on the device.

Shapes: B images, H rows of pixels, W columns, D colors.
"""

import torch
from torch import Tensor, nn

CLIP_STDS = 1e6
"""Standard deviations from the mean at which a pixel is clipped, so that it stays finite."""


class PixelScale(nn.Module):
    """Subtract the mean of each color and divide by its standard deviation."""

    mean: Tensor
    spread: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("spread", torch.tensor(std, dtype=torch.float32), persistent=False)

    def forward(self, pixels_BHWD: Tensor) -> Tensor:
        """Return float32 of the same shape."""
        scaled_BHWD = (pixels_BHWD.float() - self.mean) / self.spread
        return scaled_BHWD.clamp(-CLIP_STDS, CLIP_STDS)
