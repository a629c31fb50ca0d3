"""A column of images of any type, read into one block of pixels.

Shapes: R rows of the table, H rows of pixels, W columns, D colours.
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

from models.features.image.arrays import flaws, is_numbers, read_arrays, unnest
from models.features.image.files import Shape, read_file

Element = Literal["uint8", "float32"]
"""What one number of a pixel is kept as."""

THREAD_BYTES = 8192
"""Mean size of a file from which threads pay; below, they wait for each other."""

MOST_THREADS = 8

CELLS_A_TURN = 64
"""Files that a thread takes at once, and that are copied out of the column at once."""

MISSING = "the image is missing"


def as_cells(column: pl.Series) -> pl.Series:
    """See structs with `bytes`, the form in which other tools keep images, as those bytes."""
    dtype = column.dtype
    if isinstance(dtype, pl.Struct) and "bytes" in {field.name for field in dtype.fields}:
        return column.struct.field("bytes").alias(column.name)
    return column


def read_column(
    column: pl.Series, shape: Shape, element: Element
) -> tuple[NDArray[Any], list[str | None]]:
    """Read [R, H, W, D], and say of each row why it has no image; its pixels mean nothing."""
    pixels_RHWD = np.empty((len(column), *shape), element)
    if column.dtype == pl.Binary:
        with quiet():
            errors_R = read_files(column, pixels_RHWD)
    elif is_numbers(column.dtype):
        errors_R = read_arrays(column, pixels_RHWD)
    else:
        errors_R = [None if column.dtype == pl.Null else strange(column)] * len(column)
    if column.null_count():
        for row in column.is_null().arg_true():
            errors_R[row] = MISSING
    return pixels_RHWD, errors_R


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's remarks on notes in a file from the terminal, whose pixels are read anyway."""
    # Here, around all threads: what they changed of the filters, each other would undo.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def strange(column: pl.Series) -> str:
    """Say that a column holds something else than images."""
    return (
        f"the image is of type {column.dtype}, expected the bytes of a PNG, JPEG or WebP file, "
        "or rows of numbers"
    )


def read_files(column: pl.Series, pixels_RHWD: NDArray[Any]) -> list[str | None]:
    """Decode files into their rows' places, in threads where that pays."""
    starts = range(0, len(column), CELLS_A_TURN)

    def decode(start: int) -> list[str | None]:
        here = slice(start, start + CELLS_A_TURN)
        return read_turn(column[here].to_list(), pixels_RHWD[here])

    threads = min(MOST_THREADS, os.cpu_count() or 1, len(starts))
    mean_bytes = column.bin.size("b").mean()
    if threads < 2 or not isinstance(mean_bytes, float) or mean_bytes < THREAD_BYTES:
        return list(chain.from_iterable(map(decode, starts)))
    with ThreadPoolExecutor(threads) as pool:
        return list(chain.from_iterable(pool.map(decode, starts)))


def read_turn(cells: list[bytes | None], pixels_RHWD: NDArray[Any]) -> list[str | None]:
    """Decode a few files into their places."""
    shape = Shape(*pixels_RHWD.shape[1:])
    errors_R: list[str | None] = [None] * len(cells)
    for row, cell in enumerate(cells):
        pixels_HWD = MISSING if cell is None else read_file(cell, shape)
        if isinstance(pixels_HWD, str):
            errors_R[row] = pixels_HWD
        else:
            pixels_RHWD[row] = pixels_HWD
    return errors_R


def first_shape(column: pl.Series) -> tuple[Shape, Element] | str:
    """Find the first image that can be read, and what it is; or say why the last cannot."""
    error = "it has no rows"
    for start in range(len(column)):
        cell = column[start : start + 1]
        found = shape_of(cell)
        if not isinstance(found, str):
            return found
        error = found
    return error


def shape_of(cell: pl.Series) -> tuple[Shape, Element] | str:
    """Find the shape of the image in a column of one row, or say why there is none."""
    if cell.null_count() or cell.dtype == pl.Null:
        return MISSING
    if cell.dtype == pl.Binary:
        with quiet():
            pixels_HWD = read_file(cell.item())
        return pixels_HWD if isinstance(pixels_HWD, str) else (Shape(*pixels_HWD.shape), "uint8")
    if not is_numbers(cell.dtype):
        return strange(cell)
    grids = unnest(cell)
    element: Element = "uint8" if grids.flat_N.dtype == np.uint8 else "float32"
    return flaws(grids)[0] or (Shape(*grids.shapes_R3[0].tolist()), element)
