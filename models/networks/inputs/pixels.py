"""From rows of pixels to the steps that a network reads: rows, columns, patches, or features.

Features keep the pixels as they are in the files (uint8); scaling and reading order come here, on
the device, so that one set of features serves every way of reading.

Shapes: B images, N steps of all of them, T steps of each, C channels of a step, H rows of pixels,
W columns, D colours, G patches in height, V in width, P side of a patch.
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

    def __init__(self, signal: Pixels, config: ImageInput, *, pretrained: bool) -> None:
        """Lay out the reading.

        Args:
            signal: what the features say of the pixels.
            config: how they are read.
            pretrained: fetch the backbone's weights; false where a state dict follows.

        Raises:
            UnlearnableError: the backbone cannot be made or its weights cannot be had.
        """
        super().__init__()
        self.signal, self.config = signal, config
        self.scale = PixelScale(signal.mean, signal.std)
        self.backbone: nn.Module | None = None
        height, width, colours = signal.height, signal.width, signal.colors
        if config.sequence == "backbone":
            self.backbone = Backbone(signal, config, pretrained=pretrained)
            self.steps, self.channels = self.backbone.steps, self.backbone.channels
        elif config.sequence == "convolutions":
            self.convolutions = Convolutions(signal, config)
            self.steps, self.channels = self.convolutions.steps, self.convolutions.channels
        elif config.sequence == "patches":
            self.grid = -(-height // config.patch), -(-width // config.patch)
            order = (order_hilbert if config.scan_order == "hilbert" else order_raster)(*self.grid)
            self.register_buffer("order", torch.tensor(order), persistent=False)
            self.steps, self.channels = len(order), config.patch**2 * colours
        else:
            across = config.sequence == "columns"
            self.steps = width if across else height
            self.channels = (height if across else width) * colours

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the steps of all images, [N, C], and their offsets; N rows of pixels come in."""
        height, width, colours = self.signal.height, self.signal.width, self.signal.colors
        pixels_BHWD = values_NC.reshape(-1, height, width, colours)
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
        patches_BTC = cut_patches(pixels_BHWD, self.config.patch)
        return patches_BTC if self.config.scan_order == "raster" else patches_BTC[:, self.order]


def cut_patches(pixels_BHWD: Tensor, side: int) -> Tensor:
    """Cut into squares, line by line, [B, T, P * P * D]; beyond the edge lies the mean, zero."""
    height, width, colours = pixels_BHWD.shape[1:]
    below, beside = -height % side, -width % side
    padded_BHWD = functional.pad(pixels_BHWD, (0, 0, 0, beside, 0, below))
    grid_BGPVPD = padded_BHWD.reshape(
        -1, (height + below) // side, side, (width + beside) // side, side, colours
    )
    return grid_BGPVPD.transpose(2, 3).flatten(3).flatten(1, 2)
