"""Images as nested lists or arrays of numbers, read one column at a time.

Shapes: R rows of the table, M elements of nested lists, concatenated, N numbers, H rows, W columns,
D colors.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from models.features.image.files import MAX_FILE_PIXELS, ImageShape, check_pixel_count
from models.features.steps import Integers

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray (ITU-R BT.601), as Pillow converts image files."""


class NestedImages(NamedTuple):
    """The images of a column, with concatenated numbers."""

    flat_N: NDArray[Any]
    """uint8, or float32 with NaN for a missing number."""
    stops_R: Integers
    shapes_R3: Integers
    """Height, width and colors; -1 where rows or pixels of one image differ in length."""
    starts_R: Integers


def is_pixel_lists(dtype: pl.DataType) -> bool:
    """Return whether cells are lists of numbers nested two or three deep."""
    depth = 0
    while isinstance(dtype, (pl.List, pl.Array)):
        dtype, depth = _get_inner_type(dtype), depth + 1
    return depth in {2, 3} and (dtype.is_numeric() or dtype in {pl.Boolean, pl.Null})


def flatten_images(column: pl.Series) -> NestedImages:
    """Return the concatenated numbers of a column, and the shape of each image."""
    heights_R, rows = _flatten_once(column)
    widths_M, numbers = _flatten_once(rows)
    counts_R = _reduce_groups(np.add, widths_M, heights_R)
    sides = [heights_R, _find_common_length(widths_M, heights_R), np.ones_like(heights_R)]
    if isinstance(numbers.dtype, (pl.List, pl.Array)):
        colors_M, numbers = _flatten_once(numbers)
        sides[2] = _find_common_length(colors_M, counts_R)
        counts_R = _reduce_groups(np.add, colors_M, counts_R)
    stops_R = np.cumsum(counts_R)
    return NestedImages(
        _read_pixel_values(numbers), stops_R, np.stack(sides, axis=1), stops_R - counts_R
    )


def find_image_errors(grids: NestedImages) -> list[str | None]:
    """Return for each row why its numbers are no image, or None."""
    errors_R: list[str | None] = [None] * len(grids.stops_R)
    for row in np.flatnonzero((grids.shapes_R3 < 1).any(axis=1)):
        errors_R[row] = _describe_bad_shape(grids.shapes_R3[row])
    for row in np.flatnonzero(grids.shapes_R3[:, 0] * grids.shapes_R3[:, 1] > MAX_FILE_PIXELS):
        height, width, _ = grids.shapes_R3[row].tolist()
        errors_R[row] = errors_R[row] or check_pixel_count(width, height)
    is_bad_N = ~np.isfinite(grids.flat_N)
    if is_bad_N.any():
        bad_before_N = np.concatenate([[0], np.cumsum(is_bad_N)])
        for row in np.flatnonzero(bad_before_N[grids.stops_R] > bad_before_N[grids.starts_R]):
            errors_R[row] = errors_R[row] or "the image holds pixels that are not finite"
    return errors_R


def read_arrays(column: pl.Series, pixels_RHWD: NDArray[Any]) -> list[str | None]:
    """Write the image of each row into `pixels_RHWD`; return why rows have none, or None."""
    grids = flatten_images(column)
    errors_R = find_image_errors(grids)
    shape = ImageShape(*pixels_RHWD.shape[1:])
    is_image_R = np.array([error is None for error in errors_R], bool)
    has_shape_R = is_image_R & (grids.shapes_R3 == shape).all(axis=1)
    has_shape_N = np.repeat(has_shape_R, grids.stops_R - grids.starts_R)
    numbers_N = grids.flat_N if has_shape_N.all() else grids.flat_N[has_shape_N]
    dtype = pixels_RHWD.dtype
    pixels_RHWD[has_shape_R] = _cast_pixels(numbers_N, dtype).reshape(-1, *shape)
    for row in np.flatnonzero(is_image_R & ~has_shape_R):
        span = slice(grids.starts_R[row], grids.stops_R[row])
        image = _resize_pixels(grids.flat_N[span].reshape(grids.shapes_R3[row]), shape)
        if isinstance(image, str):
            errors_R[row] = image
        else:
            pixels_RHWD[row] = _cast_pixels(image, dtype)
    return errors_R


def _get_inner_type(dtype: pl.List | pl.Array) -> pl.DataType:
    """Return the type of the elements of a list; an array of several dimensions has arrays."""
    return pl.Series([], dtype=dtype).explode(empty_as_null=False, keep_nulls=False).dtype


def _flatten_once(column: pl.Series) -> tuple[Integers, pl.Series]:
    """Return the length of each list, 0 for null, and the concatenated elements."""
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    return counts, lists.explode(empty_as_null=False, keep_nulls=False)


def _reduce_groups(operation: np.ufunc, lengths_M: Integers, counts_R: Integers) -> Integers:
    """Return the lengths of each group reduced by an operation; 0 for an empty group."""
    filled_R = counts_R > 0
    result_R = np.zeros_like(counts_R)
    if filled_R.any():
        starts = (np.cumsum(counts_R) - counts_R)[filled_R]
        result_R[filled_R] = operation.reduceat(lengths_M, starts)
    return result_R


def _find_common_length(lengths_M: Integers, counts_R: Integers) -> Integers:
    """Return the length that all elements of a group have; -1 where they differ."""
    low_R, high_R = (_reduce_groups(op, lengths_M, counts_R) for op in (np.minimum, np.maximum))
    return np.where(low_R == high_R, low_R, -1)


def _read_pixel_values(values: pl.Series) -> NDArray[Any]:
    """Return uint8 as it is, any other type as float32 with NaN for null."""
    if values.dtype == pl.UInt8 and not values.null_count():
        return values.to_numpy()
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def _describe_bad_shape(shape_3: Integers) -> str:
    """Return the error message of a shape."""
    if (shape_3 < 0).any():
        return "the image's rows differ in length"
    return f"the image has shape {shape_3.tolist()}, expected rows of pixels"


def _cast_pixels(numbers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in a type; for bytes they are rounded and clipped."""
    if dtype == np.uint8 and numbers.dtype != np.uint8:
        numbers = np.clip(np.rint(numbers), 0, 255)
    return numbers.astype(dtype, copy=False)


def _resize_pixels(pixels_HWD: NDArray[Any], shape: ImageShape) -> NDArray[np.float32] | str:
    """Return one image in `shape`, or why its number of colors does not fit."""
    colors = pixels_HWD.shape[2]
    pixels_HWD = pixels_HWD.astype(np.float32)
    if colors == 3 and shape.colors == 1:
        pixels_HWD = pixels_HWD @ np.array(_LUMA, np.float32)[:, None]
    elif colors == 1:
        pixels_HWD = np.repeat(pixels_HWD, shape.colors, axis=2)
    elif colors != shape.colors:
        return f"the image has {colors} numbers a pixel, expected {shape.colors}"
    if pixels_HWD.shape == shape:
        return pixels_HWD
    planes = [Image.fromarray(np.ascontiguousarray(p)) for p in np.moveaxis(pixels_HWD, 2, 0)]
    size = (shape.width, shape.height)
    return np.stack([np.asarray(p.resize(size, Image.Resampling.BILINEAR)) for p in planes], axis=2)
