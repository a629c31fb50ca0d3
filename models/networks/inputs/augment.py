"""Varied images for training: moved, turned, mirrored, lit otherwise, noisy, or partly hidden.

All images of a batch at once, and every draw from the generator that is handed in: a run that is
resumed sees the same images.

Shapes: B images, N rows of all of them with C numbers, H rows of pixels, W columns, D colours.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.features.feature_spec import Pixels
from models.features.image.config import AugmentConfig


def augment(
    values_NC: Tensor, signal: Pixels, config: AugmentConfig, *, generator: torch.Generator
) -> Tensor:
    """Vary each image on its own; shape and type stay."""
    if config == AugmentConfig():
        return values_NC
    pixels_BHWD = values_NC.reshape(-1, signal.height, signal.width, signal.colours)
    draws = Draws(pixels_BHWD, generator)
    spread_D = torch.tensor(signal.spread, dtype=torch.float32, device=values_NC.device)
    mean_D = torch.tensor(signal.mean, dtype=torch.float32, device=values_NC.device)
    if config.shift or config.flip:
        pixels_BHWD = moved(pixels_BHWD, config, draws)
    if config.rotate or config.brightness or config.contrast or config.noise or config.erase:
        floats_BHWD = pixels_BHWD.float()
        if config.rotate:
            floats_BHWD = rotated(floats_BHWD, config.rotate, draws)
        floats_BHWD = lit(floats_BHWD, config, spread_D, draws)
        if config.erase:
            floats_BHWD = erased(floats_BHWD, config.erase, mean_D, draws)
        pixels_BHWD = as_type(floats_BHWD, values_NC.dtype)
    return pixels_BHWD.reshape(values_NC.shape)


class Draws:
    """Random numbers for each image of a batch."""

    def __init__(self, pixels_BHWD: Tensor, generator: torch.Generator) -> None:
        self.images, self.device, self.generator = len(pixels_BHWD), pixels_BHWD.device, generator

    def even(self) -> Tensor:
        """Draw one number from 0 to 1 an image, [B]."""
        return torch.rand(self.images, generator=self.generator).to(self.device)

    def either_way(self, farthest: float) -> Tensor:
        """Draw one number from -farthest to farthest an image, shaped to meet pixels."""
        return ((2 * self.even() - 1) * farthest)[:, None, None, None]

    def normal_like(self, pixels_BHWD: Tensor) -> Tensor:
        """Draw a number for every pixel and color."""
        return torch.randn(pixels_BHWD.shape, generator=self.generator).to(self.device)


def moved(pixels_BHWD: Tensor, config: AugmentConfig, draws: Draws) -> Tensor:
    """Shift by whole pixels, the edge going on, and mirror; no pixel gets a new value."""
    height, width = pixels_BHWD.shape[1:3]
    rows_BH = shifted_places(height, config.shift, draws)
    columns_BW = shifted_places(width, config.shift, draws)
    if config.flip:
        mirrored = (draws.even() < 0.5)[:, None]
        columns_BW = torch.where(mirrored, width - 1 - columns_BW, columns_BW)
    images_B = torch.arange(len(pixels_BHWD), device=pixels_BHWD.device)
    return pixels_BHWD[images_B[:, None, None], rows_BH[:, :, None], columns_BW[:, None, :]]


def shifted_places(length: int, share: float, draws: Draws) -> Tensor:
    """Say from where each place of a side is taken, [B, length]."""
    farthest = int(share * length)
    shift_B = (draws.even() * (2 * farthest + 1)).long().clamp(max=2 * farthest) - farthest
    places = torch.arange(length, device=shift_B.device)
    return (places - shift_B[:, None]).clamp(0, length - 1)


def rotated(pixels_BHWD: Tensor, degrees: float, draws: Draws) -> Tensor:
    """Turn around the middle, the edge going on."""
    height, width = pixels_BHWD.shape[1:3]
    angle_B = draws.either_way(math.radians(degrees)).flatten()
    cos_B, sin_B, zero_B = angle_B.cos(), angle_B.sin(), torch.zeros_like(angle_B)
    # The grid runs from -1 to 1 along both sides, whatever their lengths.
    turn_B23 = torch.stack(
        [cos_B, -sin_B * (height / width), zero_B, sin_B * (width / height), cos_B, zero_B], dim=1
    ).view(-1, 2, 3)
    planes_BDHW = pixels_BHWD.movedim(3, 1)
    grid_BHW2 = functional.affine_grid(turn_B23, list(planes_BDHW.shape), align_corners=False)
    turned_BDHW = functional.grid_sample(
        planes_BDHW, grid_BHW2, padding_mode="border", align_corners=False
    )
    return turned_BDHW.movedim(1, 3)


def lit(pixels_BHWD: Tensor, config: AugmentConfig, spread_D: Tensor, draws: Draws) -> Tensor:
    """Change contrast and brightness, and add noise."""
    if config.contrast:
        middle_B11D = pixels_BHWD.mean(dim=(1, 2), keepdim=True)
        pixels_BHWD = torch.lerp(
            middle_B11D.expand_as(pixels_BHWD), pixels_BHWD, 1 + draws.either_way(config.contrast)
        )
    if config.brightness:
        pixels_BHWD = pixels_BHWD + draws.either_way(config.brightness) * spread_D
    if config.noise:
        pixels_BHWD = pixels_BHWD + config.noise * spread_D * draws.normal_like(pixels_BHWD)
    return pixels_BHWD


def erased(pixels_BHWD: Tensor, share: float, mean_D: Tensor, draws: Draws) -> Tensor:
    """Put the mean in place of a rectangle in half of the images (Zhong et al. 2017)."""
    height, width = pixels_BHWD.shape[1:3]
    chosen_B, area_B, slant_B = draws.even() < 0.5, draws.even() * share, draws.even()
    # Both sides have shares whose product is the area; an even draw says who gets more.
    rows_BH = inside(height, area_B**slant_B, draws.even())
    columns_BW = inside(width, area_B ** (1 - slant_B), draws.even())
    hidden_BHW = chosen_B[:, None, None] & rows_BH[:, :, None] & columns_BW[:, None, :]
    return torch.where(hidden_BHW[..., None], mean_D, pixels_BHWD)


def inside(length: int, share_B: Tensor, start_B: Tensor) -> Tensor:
    """Mark a stretch of each side, [B, length]."""
    stretch_B = share_B * length
    places = torch.arange(length, device=share_B.device) + 0.5
    begins_B1 = (start_B * (length - stretch_B))[:, None]
    return (places >= begins_B1) & (places < begins_B1 + stretch_B[:, None])


def as_type(pixels_BHWD: Tensor, dtype: torch.dtype) -> Tensor:
    """Round and cut to bytes where the pixels were bytes."""
    if dtype == torch.uint8:
        pixels_BHWD = pixels_BHWD.round().clamp(0, 255)
    return pixels_BHWD.to(dtype)
