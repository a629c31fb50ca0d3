"""Augmentation of images: shift, rotation, flip, brightness, contrast, noise and erasing.

All images of a batch are changed at once. Every random number comes from the generator that is
passed in, so that a resumed run sees the same images.

Shapes: B images, N rows of all of them with C numbers, H rows of pixels, W columns, D colors.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.features.feature_spec import Pixels
from models.features.image.config import AugmentConfig


def augment(
    values_NC: Tensor, pixels: Pixels, config: AugmentConfig, *, generator: torch.Generator
) -> Tensor:
    """Change each image randomly; shape and dtype stay the same."""
    if config == AugmentConfig():
        return values_NC
    pixels_BHWD = values_NC.reshape(-1, pixels.height, pixels.width, pixels.colors)
    draws = _Draws(pixels_BHWD, generator)
    std_D = torch.tensor(pixels.std, dtype=torch.float32, device=values_NC.device)
    mean_D = torch.tensor(pixels.mean, dtype=torch.float32, device=values_NC.device)
    if config.shift or config.flip:
        pixels_BHWD = _shift_and_flip(pixels_BHWD, config, draws)
    if config.rotate or config.brightness or config.contrast or config.noise or config.erase:
        floats_BHWD = pixels_BHWD.float()
        if config.rotate:
            floats_BHWD = _rotate(floats_BHWD, config.rotate, draws)
        floats_BHWD = _change_light(floats_BHWD, config, std_D, draws)
        if config.erase:
            floats_BHWD = _erase_rectangle(floats_BHWD, config.erase, mean_D, draws)
        pixels_BHWD = _cast_pixels(floats_BHWD, values_NC.dtype)
    return pixels_BHWD.reshape(values_NC.shape)


class _Draws:
    """Random numbers for each image of a batch."""

    def __init__(self, pixels_BHWD: Tensor, generator: torch.Generator) -> None:
        self.images, self.device, self.generator = len(pixels_BHWD), pixels_BHWD.device, generator

    def draw_uniform(self) -> Tensor:
        """Draw one number from 0 to 1 an image, [B]."""
        return torch.rand(self.images, generator=self.generator).to(self.device)

    def draw_symmetric(self, bound: float) -> Tensor:
        """Draw one number from -bound to bound an image, shaped to broadcast over pixels."""
        return ((2 * self.draw_uniform() - 1) * bound)[:, None, None, None]

    def draw_normal_like(self, pixels_BHWD: Tensor) -> Tensor:
        """Draw a number for every pixel and color."""
        return torch.randn(pixels_BHWD.shape, generator=self.generator).to(self.device)


def _shift_and_flip(pixels_BHWD: Tensor, config: AugmentConfig, draws: _Draws) -> Tensor:
    """Shift by whole pixels, the edge repeated, and mirror; no pixel gets a new value."""
    height, width = pixels_BHWD.shape[1:3]
    rows_BH = _shift_indices(height, config.shift, draws)
    columns_BW = _shift_indices(width, config.shift, draws)
    if config.flip:
        mirrored = (draws.draw_uniform() < 0.5)[:, None]
        columns_BW = torch.where(mirrored, width - 1 - columns_BW, columns_BW)
    images_B = torch.arange(len(pixels_BHWD), device=pixels_BHWD.device)
    return pixels_BHWD[images_B[:, None, None], rows_BH[:, :, None], columns_BW[:, None, :]]


def _shift_indices(length: int, share: float, draws: _Draws) -> Tensor:
    """Return the source index of each position of a side, [B, length]."""
    bound = int(share * length)
    shift_B = (draws.draw_uniform() * (2 * bound + 1)).long().clamp(max=2 * bound) - bound
    positions = torch.arange(length, device=shift_B.device)
    return (positions - shift_B[:, None]).clamp(0, length - 1)


def _rotate(pixels_BHWD: Tensor, degrees: float, draws: _Draws) -> Tensor:
    """Rotate around the center; the edge is repeated beyond the image."""
    height, width = pixels_BHWD.shape[1:3]
    angle_B = draws.draw_symmetric(math.radians(degrees)).flatten()
    cos_B, sin_B, zero_B = angle_B.cos(), angle_B.sin(), torch.zeros_like(angle_B)
    # The grid runs from -1 to 1 along both sides, whatever their lengths.
    rotation_B23 = torch.stack(
        [cos_B, -sin_B * (height / width), zero_B, sin_B * (width / height), cos_B, zero_B], dim=1
    ).view(-1, 2, 3)
    planes_BDHW = pixels_BHWD.movedim(3, 1)
    grid_BHW2 = functional.affine_grid(rotation_B23, list(planes_BDHW.shape), align_corners=False)
    rotated_BDHW = functional.grid_sample(
        planes_BDHW, grid_BHW2, padding_mode="border", align_corners=False
    )
    return rotated_BDHW.movedim(1, 3)


def _change_light(
    pixels_BHWD: Tensor, config: AugmentConfig, std_D: Tensor, draws: _Draws
) -> Tensor:
    """Change contrast and brightness, and add noise."""
    if config.contrast:
        middle_B11D = pixels_BHWD.mean(dim=(1, 2), keepdim=True)
        pixels_BHWD = torch.lerp(
            middle_B11D.expand_as(pixels_BHWD),
            pixels_BHWD,
            1 + draws.draw_symmetric(config.contrast),
        )
    if config.brightness:
        pixels_BHWD = pixels_BHWD + draws.draw_symmetric(config.brightness) * std_D
    if config.noise:
        pixels_BHWD = pixels_BHWD + config.noise * std_D * draws.draw_normal_like(pixels_BHWD)
    return pixels_BHWD


def _erase_rectangle(pixels_BHWD: Tensor, share: float, mean_D: Tensor, draws: _Draws) -> Tensor:
    """Fill a random rectangle of half of the images with the mean (Zhong et al. 2017)."""
    height, width = pixels_BHWD.shape[1:3]
    chosen_B, area_B, exponent_B = (
        draws.draw_uniform() < 0.5,
        draws.draw_uniform() * share,
        draws.draw_uniform(),
    )
    # The shares of both sides multiply to the area; a uniform draw divides it between them.
    rows_BH = _mark_range(height, area_B**exponent_B, draws.draw_uniform())
    columns_BW = _mark_range(width, area_B ** (1 - exponent_B), draws.draw_uniform())
    hidden_BHW = chosen_B[:, None, None] & rows_BH[:, :, None] & columns_BW[:, None, :]
    return torch.where(hidden_BHW[..., None], mean_D, pixels_BHWD)


def _mark_range(length: int, share_B: Tensor, start_B: Tensor) -> Tensor:
    """Mark a range of each side, [B, length]."""
    size_B = share_B * length
    positions = torch.arange(length, device=share_B.device) + 0.5
    begins_B1 = (start_B * (length - size_B))[:, None]
    return (positions >= begins_B1) & (positions < begins_B1 + size_B[:, None])


def _cast_pixels(pixels_BHWD: Tensor, dtype: torch.dtype) -> Tensor:
    """Round and clip to bytes where the pixels were bytes."""
    if dtype == torch.uint8:
        pixels_BHWD = pixels_BHWD.round().clamp(0, 255)
    return pixels_BHWD.to(dtype)
