"""Columns of a feature map of two-dimensional convolutions, trained with the network.

The front of a CRNN (Shi, Bai and Yao 2015): stages of convolutions, each followed by a pooling
that halves the height, and the width until one column covers `feature_stride` pixels. Normalized in
groups of channels over each image (Wu and He 2018): normalized over the batch, an image's steps
would depend on the other images, and over the channels of each position hardly anything is
learned.

Shapes: B images, T steps, H rows, W columns of pixels, D colors, K channels of the map, G its
height, C = K * G channels of a step.
"""

from torch import Tensor, nn

from models.features.feature_spec import Pixels
from models.features.image.config import ImageInput

MIN_CHANNELS, MAX_CHANNELS = 32, 128
"""Channels of the first stage, and of the last ones."""
GROUPS = 8
"""Groups of channels of each GroupNorm."""
MAX_MAP_HEIGHT = 4
"""Largest height of the feature map."""


class Convolutions(nn.Module):
    """Scaled images in, one step for every `stride` pixels of their width out."""

    def __init__(self, pixels: Pixels, config: ImageInput) -> None:
        super().__init__()
        height, self.steps = pixels.height, pixels.width
        channels, stride = MIN_CHANNELS, 1
        stages: list[nn.Module] = [_build_stage(pixels.colors, channels)]
        while stride < config.feature_stride or height > MAX_MAP_HEIGHT:
            across = 2 if stride < config.feature_stride else 1
            down = 2 if height > 1 else 1
            stride *= across
            # The remainder at an edge is pooled too.
            height, self.steps = -(-height // down), -(-self.steps // across)
            wider = min(2 * channels, MAX_CHANNELS)
            stages += [nn.MaxPool2d((down, across), ceil_mode=True), _build_stage(channels, wider)]
            channels = wider
        self.stages = nn.Sequential(*stages)
        self.channels = channels * height

    def forward(self, scaled_BHWD: Tensor) -> Tensor:
        """Return [B, T, C]."""
        map_BKGT: Tensor = self.stages(scaled_BHWD.movedim(3, 1))
        return map_BKGT.flatten(1, 2).transpose(1, 2).contiguous()


def _build_stage(colors: int, channels: int) -> nn.Sequential:
    """Build two convolutions with GroupNorm and ReLU."""
    return nn.Sequential(
        *_build_convolution(colors, channels), *_build_convolution(channels, channels)
    )


def _build_convolution(colors: int, channels: int) -> tuple[nn.Module, ...]:
    """Build one convolution of three by three pixels, with GroupNorm and ReLU."""
    return (
        nn.Conv2d(colors, channels, 3, padding=1, bias=False),
        nn.GroupNorm(GROUPS, channels),
        nn.ReLU(),
    )
