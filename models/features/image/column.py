"""A column of images of any supported type, read into one array of pixels.

Shapes: R rows of the table, H rows of pixels, W columns, D colors.
"""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.image.arrays import (
    find_image_errors,
    flatten_images,
    is_pixel_lists,
    read_arrays,
)
from models.features.image.config import check_size
from models.features.image.files import ImageShape, decode_image

PixelType = Literal["uint8", "float32"]
"""Type of the numbers of a pixel."""

_MIN_THREAD_BYTES = 8192
"""Mean size of a file from which threads are faster; below, they wait for each other."""

_MAX_THREADS = 8

_BATCH_CELLS = 64
"""Files that a thread decodes, and that are copied from the column, at once."""

_MISSING = "the image is missing"


def unwrap_bytes(column: pl.Series) -> pl.Series:
    """Return the field `bytes` of structs, the form in which other tools store images."""
    dtype = column.dtype
    if isinstance(dtype, pl.Struct) and "bytes" in {field.name for field in dtype.fields}:
        return column.struct.field("bytes").alias(column.name)
    return column


def read_images(
    column: pl.Series, shape: ImageShape, pixel_type: PixelType
) -> tuple[NDArray[Any], list[str | None]]:
    """Return pixels [R, H, W, D], and for each row why it has no image, with undefined pixels."""
    pixels_RHWD = np.empty((len(column), *shape), pixel_type)
    if column.dtype == pl.Binary:
        with _ignore_warnings():
            errors_R = _read_files(column, pixels_RHWD)
    elif is_pixel_lists(column.dtype):
        errors_R = read_arrays(column, pixels_RHWD)
    else:
        errors_R = [None if column.dtype == pl.Null else _describe_wrong_type(column)] * len(column)
    if column.null_count():
        for row in column.is_null().arg_true():
            errors_R[row] = _MISSING
    return pixels_RHWD, errors_R


def find_first_shape(column: pl.Series, *, has_size: bool) -> tuple[ImageShape, PixelType] | str:
    """Return shape and type of the first image that can be read, or why the last one cannot.

    Args:
        column: of images.
        has_size: whether images are resized; otherwise one that is too large for a sequence is
            skipped.
    """
    error = "it has no rows"
    for start in range(len(column)):
        cell = column[start : start + 1]
        result = _find_shape(cell)
        if not isinstance(result, str):
            too_large = None if has_size else _find_size_error(result[0])
            if too_large is None:
                return result
            result = too_large
        error = result
    return error


def _find_size_error(shape: ImageShape) -> str | None:
    """Return why an image of this size cannot set the size of all others, or None."""
    try:
        check_size(shape.height, shape.width)
    except ValueError as error:
        return str(error)
    return None


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about metadata of files, whose pixels are read anyway."""
    # Around all threads, as filters are global and one thread would undo those of another.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _describe_wrong_type(column: pl.Series) -> str:
    """Return the error message for a column of another type."""
    return (
        f"the image is of type {column.dtype}, expected the bytes of a PNG, JPEG or WebP file, "
        "or rows of numbers"
    )


def _read_files(column: pl.Series, pixels_RHWD: NDArray[Any]) -> list[str | None]:
    """Write decoded files into their rows of pixels, in threads where that is faster."""
    starts = range(0, len(column), _BATCH_CELLS)

    def decode(start: int) -> list[str | None]:
        rows = slice(start, start + _BATCH_CELLS)
        return _read_batch(column[rows].to_list(), pixels_RHWD[rows])

    threads = min(_MAX_THREADS, os.cpu_count() or 1, len(starts))
    mean_bytes = column.bin.size("b").mean()
    if threads < 2 or not isinstance(mean_bytes, float) or mean_bytes < _MIN_THREAD_BYTES:
        return list(chain.from_iterable(map(decode, starts)))
    with ThreadPoolExecutor(threads) as pool:
        return list(chain.from_iterable(pool.map(decode, starts)))


def _read_batch(cells: list[bytes | None], pixels_RHWD: NDArray[Any]) -> list[str | None]:
    """Write a batch of decoded files into their rows of pixels."""
    shape = ImageShape(*pixels_RHWD.shape[1:])
    errors_R: list[str | None] = [None] * len(cells)
    for row, cell in enumerate(cells):
        pixels_HWD = _MISSING if cell is None else decode_image(cell, shape)
        if isinstance(pixels_HWD, str):
            errors_R[row] = pixels_HWD
        else:
            pixels_RHWD[row] = pixels_HWD
    return errors_R


def _find_shape(cell: pl.Series) -> tuple[ImageShape, PixelType] | str:
    """Return shape and type of the image in a column of one row, or why there is none."""
    if cell.null_count() or cell.dtype == pl.Null:
        return _MISSING
    if cell.dtype == pl.Binary:
        with _ignore_warnings():
            pixels_HWD = decode_image(cell.item())
        return (
            pixels_HWD if isinstance(pixels_HWD, str) else (ImageShape(*pixels_HWD.shape), "uint8")
        )
    if not is_pixel_lists(cell.dtype):
        return _describe_wrong_type(cell)
    grids = flatten_images(cell)
    pixel_type: PixelType = "uint8" if grids.flat_N.dtype == np.uint8 else "float32"
    return find_image_errors(grids)[0] or (ImageShape(*grids.shapes_R3[0].tolist()), pixel_type)
