"""Fitting of size, colors and scale of images, and their pixels as steps.

Mean and standard deviation are of a sample of the training rows: all at first, half of them once
they are more than `_MAX_SAMPLE_IMAGES`, then a quarter, and so on. Which rows remain depends on
their numbers alone, not on the size of frames: those whose multiple of the golden ratio has the
smallest fractional part, which spreads them evenly without following a period of the table (Weyl
1916). Only sampled rows are decoded.
Shapes: R rows of the table, K images of the sample, H rows of pixels, W columns, D colors.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.feature_spec import Pixels
from models.features.image.column import PixelType, find_first_shape, read_images, unwrap_bytes
from models.features.image.config import ImageInput
from models.features.image.files import ImageShape
from models.features.steps import Steps

_MAX_SAMPLE_IMAGES = 4096
"""Most images that mean and standard deviation are computed from."""

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
"""Fractional part of the golden ratio times 2 ** 64."""

_SAMPLE_BATCH_BYTES = 4 << 20
"""Bytes of pixels that are decoded at once for the sample."""

_MAX_FRAME_BYTES = 4 << 30
"""Most bytes of pixels of one frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageState:
    """Size, colors and scale of the training images."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    height: int
    width: int
    colors: int
    pixel_type: PixelType
    """`uint8` for files and arrays of bytes, else `float32`."""
    mean: tuple[float, ...]
    """Of each color."""
    std: tuple[float, ...]
    """Standard deviation of each color; 1 where it is constant."""

    @property
    def shape(self) -> ImageShape:
        """The shape that every image is resized to."""
        return ImageShape(self.height, self.width, self.colors)


def fit(frames: Iterable[pl.DataFrame], config: ImageInput) -> ImageState:
    """Return size, colors, mean and standard deviation of the training images.

    Raises:
        UnlearnableError: no image can be read, or all are too large.
    """
    sample: _ScaleSample | None = None
    seen, error = 0, "it has no rows"
    for frame in frames:
        column = unwrap_bytes(frame[config.column])
        if sample is None and len(column):
            first = find_first_shape(column, has_size=config.size is not None)
            if isinstance(first, str):
                error = first
            else:
                sample = _start_sample(config, *first)
        if sample is not None:
            _add_rows(sample, column, seen)
        seen += len(column)
    if sample is None or not len(sample.rows_K):
        error = error if sample is None else f"none has {sample.shape.colors} colors"
        raise UnlearnableError(f"column '{config.column}' holds no image that can be read: {error}")
    return _compute_state(sample)


def compute_max_rows(state: ImageState, budget: int = 256 << 20) -> int:
    """Return how many rows a frame may have so that its pixels need at most `budget` bytes."""
    return max(1, budget // _count_image_bytes(state.shape, state.pixel_type))


def transform(frame: pl.DataFrame, config: ImageInput, state: ImageState) -> Steps:
    """Return the image of each row as H rows of pixels, or its error.

    Raises:
        UnlearnableError: the images of the frame together need more memory than allowed.
    """
    column = unwrap_bytes(frame[config.column])
    if len(column) > (max_rows := compute_max_rows(state, _MAX_FRAME_BYTES)):
        raise UnlearnableError(
            f"{len(column)} images of {state.height} x {state.width} pixels at once are more than "
            f"fit into memory: give at most {max_rows} rows at a time, or a smaller size"
        )
    pixels_RHWD, errors_R = read_images(column, state.shape, state.pixel_type)
    is_read_R = np.array([error is None for error in errors_R], bool)
    if not is_read_R.all():
        pixels_RHWD = pixels_RHWD[is_read_R]
    heights_R = np.where(is_read_R, state.height, 0)
    stops_R = np.cumsum(heights_R, dtype=np.int64)
    return Steps(
        values_NC=pixels_RHWD.reshape(-1, state.width * state.colors),
        starts_R=stops_R - heights_R,
        stops_R=stops_R,
        errors_R=errors_R,
    )


def build_spec(_: ImageInput, state: ImageState) -> Pixels:
    """Return size, colors and scale of the images."""
    return Pixels(
        height=state.height,
        width=state.width,
        colors=state.colors,
        mean=state.mean,
        std=state.std,
    )


@dataclass(slots=True)
class _ScaleSample:
    """Mean and variance of each sampled image, in the order of their rows."""

    shape: ImageShape
    pixel_type: PixelType
    halvings: int
    """How often the sample was halved."""
    rows_K: NDArray[np.int64]
    statistics_K2D: NDArray[np.float64]


def _start_sample(config: ImageInput, first: ImageShape, pixel_type: PixelType) -> _ScaleSample:
    """Return an empty sample with the shape of the config, else of the first image."""
    height, width = config.size or (first.height, first.width)
    colors = {"auto": first.colors, "grey": 1, "rgb": 3}[config.color]
    return _ScaleSample(
        shape=ImageShape(height, width, colors),
        pixel_type=pixel_type,
        halvings=0,
        rows_K=np.empty(0, np.int64),
        statistics_K2D=np.empty((0, 2, colors)),
    )


def _add_rows(sample: _ScaleSample, column: pl.Series, seen: int) -> None:
    """Add a sample of the rows of a column, which follow `seen` earlier ones."""
    batch_rows = max(1, _SAMPLE_BATCH_BYTES // _count_image_bytes(sample.shape, sample.pixel_type))
    numbers = np.arange(seen, seen + len(column))
    while len(numbers := numbers[_mark_sampled_rows(numbers, sample.halvings)]):
        batch, numbers = numbers[:batch_rows], numbers[batch_rows:]
        pixels_RHWD, errors_R = read_images(
            column.gather(batch - seen), sample.shape, sample.pixel_type
        )
        is_read = np.array([error is None for error in errors_R], bool)
        _extend_sample(
            sample,
            batch[is_read],
            [_compute_color_statistics(pixels_HWD) for pixels_HWD in pixels_RHWD[is_read]],
        )


def _mark_sampled_rows(numbers: NDArray[np.int64], halvings: int) -> NDArray[np.bool_]:
    """Return which rows are in the sample after so many halvings; row 0 always is."""
    scattered = numbers.astype(np.uint64) * _GOLDEN_RATIO
    return scattered < np.uint64(1 << 64 - halvings) if halvings else np.ones(len(numbers), bool)


def _extend_sample(
    sample: _ScaleSample, numbers: NDArray[np.int64], statistics: list[NDArray[np.float64]]
) -> None:
    """Add images to the sample in place, and halve it while it is too large."""
    sample.rows_K = np.concatenate([sample.rows_K, numbers])
    sample.statistics_K2D = np.concatenate([sample.statistics_K2D, *(m[None] for m in statistics)])
    while len(sample.rows_K) > _MAX_SAMPLE_IMAGES:
        sample.halvings += 1
        remains_K = _mark_sampled_rows(sample.rows_K, sample.halvings)
        sample.rows_K, sample.statistics_K2D = (
            sample.rows_K[remains_K],
            sample.statistics_K2D[remains_K],
        )


def _compute_color_statistics(pixels_HWD: NDArray[Any]) -> NDArray[np.float64]:
    """Return mean and variance of the colors of an image, [2, D]."""
    values_DN = np.moveaxis(pixels_HWD, 2, 0).reshape(pixels_HWD.shape[2], -1).astype(np.float64)
    return np.stack([values_DN.mean(axis=1), values_DN.var(axis=1)])


def _compute_state(sample: _ScaleSample) -> ImageState:
    """Return the state of a sample in which all images have the same weight."""
    means_KD, squares_KD = sample.statistics_K2D[:, 0], sample.statistics_K2D[:, 1]
    mean_D = means_KD.mean(axis=0)
    std_D = np.sqrt(squares_KD.mean(axis=0) + means_KD.var(axis=0))
    std_D[std_D <= 1e-12 * np.abs(mean_D)] = 1.0
    return ImageState(
        **sample.shape._asdict(),
        pixel_type=sample.pixel_type,
        mean=tuple(mean_D.tolist()),
        std=tuple(std_D.tolist()),
    )


def _count_image_bytes(shape: ImageShape, pixel_type: PixelType) -> int:
    """Return the number of bytes of one image."""
    return shape.height * shape.width * shape.colors * np.dtype(pixel_type).itemsize
