"""From rows of pixels to the steps that a network reads: rows, columns, patches, or features.

Features keep the pixels as they are in the files (uint8); scaling and reading order come here, on
the device, so that one set of features serves every way of reading.

Shapes: B images, N steps of all of them, T steps of each, C channels of a step, H rows of pixels,
W columns, D colors, G patches in height, V in width, P side of a patch.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.features.feature_spec import Pixels
from models.features.image.config import ImageInput
from models.networks.inputs.backbone import Backbone
from models.networks.inputs.crnn import Convolutions
from models.networks.inputs.grid_order import order_hilbert, order_raster
from models.networks.inputs.pixel_scale import PixelScale
from models.networks.jagged import Offsets


class PixelFront(nn.Module):
    """Pixels of any type in, float steps in reading order out."""

    order: Tensor

    def __init__(self, pixels: Pixels, config: ImageInput, *, pretrained: bool) -> None:
        """Build the layers that this way of reading needs.

        Args:
            pixels: shape, mean and standard deviation of the images.
            config: how they are read.
            pretrained: fetch the backbone's weights; false where a state dict follows.

        Raises:
            UnlearnableError: the backbone or its weights are not available.
        """
        super().__init__()
        self.pixels, self.config = pixels, config
        self.scale = PixelScale(pixels.mean, pixels.std)
        self.backbone: nn.Module | None = None
        height, width, colors = pixels.height, pixels.width, pixels.colors
        if config.sequence == "backbone":
            self.backbone = Backbone(pixels, config, pretrained=pretrained)
            self.steps, self.channels = self.backbone.steps, self.backbone.channels
        elif config.sequence == "convolutions":
            self.convolutions = Convolutions(pixels, config)
            self.steps, self.channels = self.convolutions.steps, self.convolutions.channels
        elif config.sequence == "patches":
            self.grid = -(-height // config.patch), -(-width // config.patch)
            order = (order_hilbert if config.scan_order == "hilbert" else order_raster)(*self.grid)
            self.register_buffer("order", torch.tensor(order), persistent=False)
            self.steps, self.channels = len(order), config.patch**2 * colors
        else:
            by_columns = config.sequence == "columns"
            self.steps = width if by_columns else height
            self.channels = (height if by_columns else width) * colors

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the steps of all images, [N, C], and their offsets; N rows of pixels come in."""
        height, width, colors = self.pixels.height, self.pixels.width, self.pixels.colors
        pixels_BHWD = values_NC.reshape(-1, height, width, colors)
        if self.backbone is not None:
            steps_BTC: Tensor = self.backbone(pixels_BHWD)
        else:
            steps_BTC = self.cut_steps(self.scale(pixels_BHWD))
        lengths = np.full(len(offsets), self.steps)
        return steps_BTC.flatten(0, 1), Offsets.from_lengths(lengths, offsets.device)

    def cut_steps(self, pixels_BHWD: Tensor) -> Tensor:
        """Cut scaled images into steps."""
        if self.config.sequence == "rows":
            return pixels_BHWD.flatten(2)
        if self.config.sequence == "columns":
            return pixels_BHWD.transpose(1, 2).flatten(2)
        if self.config.sequence == "convolutions":
            steps_BTC: Tensor = self.convolutions(pixels_BHWD)
            return steps_BTC
        patches_BTC = _cut_patches(pixels_BHWD, self.config.patch)
        return patches_BTC if self.config.scan_order == "raster" else patches_BTC[:, self.order]


def _cut_patches(pixels_BHWD: Tensor, side: int) -> Tensor:
    """Cut into squares, row by row, [B, T, P * P * D]; padded with the mean, zero."""
    height, width, colors = pixels_BHWD.shape[1:]
    below, right = -height % side, -width % side
    padded_BHWD = functional.pad(pixels_BHWD, (0, 0, 0, right, 0, below))
    grid_BGPVPD = padded_BHWD.reshape(
        -1, (height + below) // side, side, (width + right) // side, side, colors
    )
    return grid_BGPVPD.transpose(2, 3).flatten(3).flatten(1, 2)
