"""Images as nested lists or arrays of numbers, read a column at a time.

Shapes: R rows of the table, M members of nested lists end to end, N numbers, H rows, W columns,
D colours.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from models.features.image.files import Shape
from models.features.steps import Integers

LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue look (ITU-R BT.601), as image files are turned to grey."""


class Grids(NamedTuple):
    """A column's images, their numbers end to end."""

    flat_N: NDArray[Any]
    """uint8, or float32 with NaN for a gap."""
    stops_R: Integers
    shapes_R3: Integers
    """Height, width and colours; -1 where the parts of one image differ."""
    starts_R: Integers


def is_numbers(dtype: pl.DataType) -> bool:
    """Return whether cells are lists of lists, or of lists of lists, of numbers."""
    depth = 0
    while isinstance(dtype, (pl.List, pl.Array)):
        dtype, depth = inner(dtype), depth + 1
    return depth in {2, 3} and (dtype.is_numeric() or dtype in {pl.Boolean, pl.Null})


def inner(dtype: pl.List | pl.Array) -> pl.DataType:
    """Return the type of a list's members; an array of many sides is an array of arrays."""
    return pl.Series([], dtype=dtype).explode(empty_as_null=False, keep_nulls=False).dtype


def unnest(column: pl.Series) -> Grids:
    """Lay a column's numbers end to end, and find each image's shape."""
    heights_R, rows = members(column)
    widths_M, numbers = members(rows)
    counts_R = grouped(np.add, widths_M, heights_R)
    sides = [heights_R, common(widths_M, heights_R), np.ones_like(heights_R)]
    if isinstance(numbers.dtype, (pl.List, pl.Array)):
        colours_M, numbers = members(numbers)
        sides[2] = common(colours_M, counts_R)
        counts_R = grouped(np.add, colours_M, counts_R)
    stops_R = np.cumsum(counts_R)
    return Grids(to_numbers(numbers), stops_R, np.stack(sides, axis=1), stops_R - counts_R)


def members(column: pl.Series) -> tuple[Integers, pl.Series]:
    """Count each list's members, none for a gap, and lay them end to end."""
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    return counts, lists.explode(empty_as_null=False, keep_nulls=False)


def grouped(operation: np.ufunc, lengths_M: Integers, counts_R: Integers) -> Integers:
    """Combine the lengths of each group of members; 0 for a group without any."""
    filled_R = counts_R > 0
    result_R = np.zeros_like(counts_R)
    if filled_R.any():
        starts = (np.cumsum(counts_R) - counts_R)[filled_R]
        result_R[filled_R] = operation.reduceat(lengths_M, starts)
    return result_R


def common(lengths_M: Integers, counts_R: Integers) -> Integers:
    """Find the length that all members of a group have; -1 where they differ."""
    low_R, high_R = (grouped(op, lengths_M, counts_R) for op in (np.minimum, np.maximum))
    return np.where(low_R == high_R, low_R, -1)


def to_numbers(values: pl.Series) -> NDArray[Any]:
    """Read bytes as they are, and all else as float32, NaN for a gap."""
    if values.dtype == pl.UInt8 and not values.null_count():
        return values.to_numpy()
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def flaws(grids: Grids) -> list[str | None]:
    """Say of each row why its numbers are no image."""
    errors_R: list[str | None] = [None] * len(grids.stops_R)
    for row in np.flatnonzero((grids.shapes_R3 < 1).any(axis=1)):
        errors_R[row] = misshapen(grids.shapes_R3[row])
    strange_N = ~np.isfinite(grids.flat_N)
    if strange_N.any():
        before_N = np.concatenate([[0], np.cumsum(strange_N)])
        for row in np.flatnonzero(before_N[grids.stops_R] > before_N[grids.starts_R]):
            errors_R[row] = errors_R[row] or "the image holds pixels that are not finite"
    return errors_R


def misshapen(shape_3: Integers) -> str:
    """Return what is wrong with a shape."""
    if (shape_3 < 0).any():
        return "the image's rows differ in length"
    return f"the image has shape {shape_3.tolist()}, expected rows of pixels"


def read_arrays(column: pl.Series, pixels_RHWD: NDArray[Any]) -> list[str | None]:
    """Fill in each row's image; where there is none, say why."""
    grids = unnest(column)
    errors_R = flaws(grids)
    shape = Shape(*pixels_RHWD.shape[1:])
    whole_R = np.array([error is None for error in errors_R], bool)
    fits_R = whole_R & (grids.shapes_R3 == shape).all(axis=1)
    fitting_N = np.repeat(fits_R, grids.stops_R - grids.starts_R)
    numbers_N = grids.flat_N if fitting_N.all() else grids.flat_N[fitting_N]
    target = pixels_RHWD.dtype
    pixels_RHWD[fits_R] = as_type(numbers_N, target).reshape(-1, *shape)
    for row in np.flatnonzero(whole_R & ~fits_R):
        here = slice(grids.starts_R[row], grids.stops_R[row])
        image = fitted(grids.flat_N[here].reshape(grids.shapes_R3[row]), shape)
        if isinstance(image, str):
            errors_R[row] = image
        else:
            pixels_RHWD[row] = as_type(image, target)
    return errors_R


def as_type(numbers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round and cut to bytes where training had bytes."""
    if dtype == np.uint8 and numbers.dtype != np.uint8:
        numbers = np.clip(np.rint(numbers), 0, 255)
    return numbers.astype(dtype, copy=False)


def fitted(pixels_HWD: NDArray[Any], shape: Shape) -> NDArray[np.float32] | str:
    """Bring one image to `shape`, or say why its colours don't fit."""
    colours = pixels_HWD.shape[2]
    pixels_HWD = pixels_HWD.astype(np.float32)
    if colours == 3 and shape.colours == 1:
        pixels_HWD = pixels_HWD @ np.array(LUMA, np.float32)[:, None]
    elif colours == 1:
        pixels_HWD = np.repeat(pixels_HWD, shape.colours, axis=2)
    elif colours != shape.colours:
        return f"the image has {colours} numbers a pixel, expected {shape.colours}"
    if pixels_HWD.shape == shape:
        return pixels_HWD
    planes = [Image.fromarray(np.ascontiguousarray(p)) for p in np.moveaxis(pixels_HWD, 2, 0)]
    size = (shape.width, shape.height)
    return np.stack([np.asarray(p.resize(size, Image.Resampling.BILINEAR)) for p in planes], axis=2)
