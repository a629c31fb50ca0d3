"""Images read as sequences: one step a row of pixels, from the top.

A cell holds the bytes of a PNG or JPEG file, or the rows of pixels as lists of numbers.
Shapes: H rows, W columns, D colours (1 or 3), C = W * D channels.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from PIL import Image, UnidentifiedImageError

from models.errors import UnlearnableError
from models.features.steps import Floats, Steps, jagged

MAX_PIXELS = 50_000_000
"""Larger images are taken for decompression bombs."""

GREY_MODES = {"1", "L", "LA"}

DEEP_MODES = {"I", "I;16", "I;16B", "F"}
"""Greys of more than eight bits; converted to eight they would be cut off."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    IndexError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageShape:
    """The size that every image is brought to; that of the first training image."""

    height: int
    width: int
    colours: int

    @property
    def channels(self) -> int:
        """Numbers in one row of pixels."""
        return self.width * self.colours


def fit_shape(column: pl.Series) -> ImageShape:
    """Take the shape of the first image that can be read.

    Raises:
        UnlearnableError: no cell can be read.
    """
    error = "it has no rows"
    for cell in column:
        pixels = read_cell(cell)
        if not isinstance(pixels, str):
            height, width, colours = pixels.shape
            return ImageShape(height=height, width=width, colours=colours)
        error = pixels
    raise UnlearnableError(f"column '{column.name}' holds no image that can be read: {error}")


def image_steps(column: pl.Series, shape: ImageShape) -> Steps:
    """Decode every cell to `shape`; a cell that cannot be read is its row's error."""
    return jagged([pixel_rows(cell, shape) for cell in column], shape.channels)


def pixel_rows(cell: object, shape: ImageShape) -> Floats | str:
    """Decode one cell to [H, C], or say why it cannot be read."""
    pixels_HWD = read_cell(cell)
    if isinstance(pixels_HWD, str):
        return pixels_HWD
    if pixels_HWD.shape[2] != shape.colours:
        pixels_HWD = recolour(pixels_HWD, shape.colours)
    if pixels_HWD.shape[:2] != (shape.height, shape.width):
        pixels_HWD = resize(pixels_HWD, shape)
    return np.ascontiguousarray(pixels_HWD.reshape(shape.height, shape.channels), np.float32)


def read_cell(cell: object) -> Floats | str:
    """Read one cell as [H, W, D], or say why it cannot be read."""
    if cell is None:
        return "the image is missing"
    if isinstance(cell, bytes):
        return read_file(cell)
    if isinstance(cell, (pl.Series, Sequence, np.ndarray)) and not isinstance(cell, str):
        return read_numbers(cell)
    return f"the image is of type {type(cell).__name__}, expected PNG or JPEG bytes"


def read_file(data: bytes) -> Floats | str:
    """Decode PNG or JPEG bytes."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                return f"the image has {image.width} x {image.height} pixels, more than allowed"
            pixels = np.asarray(plain_mode(image), np.float32)
    except UnidentifiedImageError:
        return "the image is neither PNG nor JPEG"
    except DAMAGE as error:
        return f"the image is damaged: {error}"
    return pixels.reshape(*pixels.shape[:2], -1)


def plain_mode(image: Image.Image) -> Image.Image:
    """Bring an image to one grey or three colours."""
    if image.mode in DEEP_MODES:
        return image
    return image.convert("L" if image.mode in GREY_MODES else "RGB")


def read_numbers(cell: object) -> Floats | str:
    """Read rows of numbers."""
    rows = cell.to_list() if isinstance(cell, pl.Series) else cell
    try:
        pixels = np.asarray(rows, np.float32)
    except (TypeError, ValueError):
        return "the image's rows differ in length or hold something else than numbers"
    if pixels.ndim not in {2, 3} or 0 in pixels.shape:
        return f"the image has shape {list(pixels.shape)}, expected rows of pixels"
    if not np.isfinite(pixels).all():
        return "the image holds pixels that are not finite"
    return pixels.reshape(*pixels.shape[:2], -1)


def recolour(pixels_HWD: Floats, colours: int) -> Floats:
    """Turn grey into colour by repetition, and colour into grey by the mean."""
    grey = pixels_HWD.mean(axis=2, keepdims=True)
    return np.repeat(grey, colours, axis=2)


def resize(pixels_HWD: Floats, shape: ImageShape) -> Floats:
    """Resize each colour plane by bilinear interpolation."""
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels_HWD[:, :, colour])).resize(
                (shape.width, shape.height), Image.Resampling.BILINEAR
            )
        )
        for colour in range(pixels_HWD.shape[2])
    ]
    return np.stack(planes, axis=2)
