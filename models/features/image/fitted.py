"""What training decides about images, and how rows are read by it.

Mean and spread come from a sample of the training rows: all at first, half of them once they are
more than `SAMPLE`, then a quarter, and so on. Which rows stay depends on their numbers alone, not
on how frames were cut: those whose multiple of the golden ratio has the smallest fractions, which
spreads them evenly without falling in step with anything periodic in the table (Weyl 1916).
Only sampled rows are decoded.
Shapes: R rows of the table, K images of the sample, H rows of pixels, W columns, D colours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.feature_spec import Pixels
from models.features.image.column import Element, as_cells, first_shape, read_column
from models.features.image.config import ImageInput, check_size
from models.features.image.files import Shape
from models.features.steps import Steps

SAMPLE = 4096
"""Images at most that mean and spread are taken from."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio's fraction of 2 ** 64."""

SAMPLE_BYTES = 4 << 20
"""Pixels that are decoded at once for the sample."""

FRAME_BYTES = 4 << 30
"""Pixels at most that one frame may become."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageState:
    """The size, colours and scale that training found."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    height: int
    width: int
    colours: int
    element: Element
    """`uint8` for files and for arrays of bytes, else `float32`."""
    mean: tuple[float, ...]
    """Of each color."""
    spread: tuple[float, ...]
    """Standard deviation of each color; 1 where it never changes."""

    @property
    def shape(self) -> Shape:
        """What every image is brought to."""
        return Shape(self.height, self.width, self.colours)


@dataclass(slots=True)
class Sample:
    """Mean and squared spread of each sampled image, in the order of their rows."""

    shape: Shape
    element: Element
    halvings: int
    """How often the sample was too large."""
    numbers_K: NDArray[np.int64]
    moments_K2D: NDArray[np.float64]


def fit(frames: Iterable[pl.DataFrame], config: ImageInput) -> ImageState:
    """Learn size, colours, mean and spread.

    Raises:
        UnlearnableError: no image can be read, or the images are too large.
    """
    sample: Sample | None = None
    seen, error = 0, "it has no rows"
    for frame in frames:
        column = as_cells(frame[config.column])
        if sample is None and len(column):
            found = first_shape(column)
            if isinstance(found, str):
                error = found
            else:
                sample = empty_sample(config, *found)
        if sample is not None:
            add_rows(sample, column, seen)
        seen += len(column)
    if sample is None or not len(sample.numbers_K):
        error = error if sample is None else f"none has {sample.shape.colours} colours"
        raise UnlearnableError(f"column '{config.column}' holds no image that can be read: {error}")
    return state_of(sample)


def empty_sample(config: ImageInput, first: Shape, element: Element) -> Sample:
    """Begin a sample with the shape that the config or the first image asks for."""
    height, width = config.size or (first.height, first.width)
    try:
        check_size(height, width)
    except ValueError as error:
        raise UnlearnableError(f"column '{config.column}': {error}") from error
    colours = {"auto": first.colours, "grey": 1, "rgb": 3}[config.color]
    return Sample(
        shape=Shape(height, width, colours),
        element=element,
        halvings=0,
        numbers_K=np.empty(0, np.int64),
        moments_K2D=np.empty((0, 2, colours)),
    )


def add_rows(sample: Sample, column: pl.Series, seen: int) -> None:
    """Sample from the rows that follow the `seen` ones."""
    at_once = max(1, SAMPLE_BYTES // image_bytes(sample.shape, sample.element))
    numbers = np.arange(seen, seen + len(column))
    while len(numbers := numbers[sampled(numbers, sample.halvings)]):
        chosen, numbers = numbers[:at_once], numbers[at_once:]
        pixels_RHWD, errors_R = read_column(
            column.gather(chosen - seen), sample.shape, sample.element
        )
        read = np.array([error is None for error in errors_R], bool)
        keep(sample, chosen[read], [moments_of(pixels_HWD) for pixels_HWD in pixels_RHWD[read]])


def sampled(numbers: NDArray[np.int64], halvings: int) -> NDArray[np.bool_]:
    """Mark the rows of the sample after so many halvings; row 0 is always among them."""
    scattered = numbers.astype(np.uint64) * GOLDEN
    return scattered < np.uint64(1 << 64 - halvings) if halvings else np.ones(len(numbers), bool)


def keep(sample: Sample, numbers: NDArray[np.int64], moments: list[NDArray[np.float64]]) -> None:
    """Add images to the sample, and halve it while it is too large."""
    sample.numbers_K = np.concatenate([sample.numbers_K, numbers])
    sample.moments_K2D = np.concatenate([sample.moments_K2D, *(m[None] for m in moments)])
    while len(sample.numbers_K) > SAMPLE:
        sample.halvings += 1
        kept = sampled(sample.numbers_K, sample.halvings)
        sample.numbers_K, sample.moments_K2D = sample.numbers_K[kept], sample.moments_K2D[kept]


def moments_of(pixels_HWD: NDArray[Any]) -> NDArray[np.float64]:
    """Find the mean and squared spread of an image's colours, [2, D]."""
    values_DN = np.moveaxis(pixels_HWD, 2, 0).reshape(pixels_HWD.shape[2], -1).astype(np.float64)
    return np.stack([values_DN.mean(axis=1), values_DN.var(axis=1)])


def state_of(sample: Sample) -> ImageState:
    """Combine the sampled images, each of the same weight."""
    means_KD, squares_KD = sample.moments_K2D[:, 0], sample.moments_K2D[:, 1]
    mean_D = means_KD.mean(axis=0)
    spread_D = np.sqrt(squares_KD.mean(axis=0) + means_KD.var(axis=0))
    spread_D[spread_D <= 1e-12 * np.abs(mean_D)] = 1.0
    return ImageState(
        **sample.shape._asdict(),
        element=sample.element,
        mean=tuple(mean_D.tolist()),
        spread=tuple(spread_D.tolist()),
    )


def image_bytes(shape: Shape, element: Element) -> int:
    """Count the bytes of one image."""
    return shape.height * shape.width * shape.colours * np.dtype(element).itemsize


def rows_at_once(state: ImageState, budget: int = 256 << 20) -> int:
    """Return how many rows a frame may have for its pixels to stay within `budget` bytes."""
    return max(1, budget // image_bytes(state.shape, state.element))


def transform(frame: pl.DataFrame, config: ImageInput, state: ImageState) -> Steps:
    """Read every row's image as H rows of pixels, or say why it has none.

    Raises:
        UnlearnableError: the frame's images together would take more memory than is allowed.
    """
    column = as_cells(frame[config.column])
    if len(column) > (most := rows_at_once(state, FRAME_BYTES)):
        raise UnlearnableError(
            f"{len(column)} images of {state.height} x {state.width} pixels at once are more than "
            f"fit into memory: hand over at most {most} rows at a time, or give a smaller size"
        )
    pixels_RHWD, errors_R = read_column(column, state.shape, state.element)
    read_R = np.array([error is None for error in errors_R], bool)
    if not read_R.all():
        pixels_RHWD = pixels_RHWD[read_R]
    heights_R = np.where(read_R, state.height, 0)
    stops_R = np.cumsum(heights_R, dtype=np.int64)
    return Steps(
        values_NC=pixels_RHWD.reshape(-1, state.width * state.colours),
        starts_R=stops_R - heights_R,
        stops_R=stops_R,
        errors_R=errors_R,
    )


def signal(_: ImageInput, state: ImageState) -> Pixels:
    """Tell the network what a step is."""
    return Pixels(
        height=state.height,
        width=state.width,
        colors=state.colours,
        mean=state.mean,
        std=state.spread,
    )
