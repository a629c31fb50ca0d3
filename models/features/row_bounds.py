"""Bounds on single cells of any kind of input, applied before anything is computed from them.

A row with a cell beyond them is not read, and gets the reason as its error, so that it cannot take
the memory or the time of all others. What only the header of a file says, such
as a sample rate or a number of pixels, is bounded by the kind of input itself.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

MAX_TEXT_BYTES = 10 * 2**20
"""Most UTF-8 bytes of a text, a tree or a category: a book of 3,000 pages."""

MAX_FILE_BYTES = 512 * 2**20
"""Most bytes of a file, such as an image or a sound."""

MAX_LIST_LENGTH = 2**25
"""Most elements of a list: 11 minutes of samples at 48 kHz."""


def find_oversized_rows(frame: pl.DataFrame, columns: Iterable[str]) -> dict[int, str]:
    """Return the reason for each row with a cell beyond the bounds; of several, the first column's.

    Args:
        frame: raw rows.
        columns: names of the columns to look at; one that the frame lacks is skipped.
    """
    reasons: dict[int, str] = {}
    for name in columns:
        if name not in frame.columns:
            continue
        unit, most, sizes_R = _measure_cells(frame[name])
        for row in np.flatnonzero(sizes_R > most).tolist():
            reasons.setdefault(
                row, f"column '{name}' holds {sizes_R[row]:,} {unit}, and at most {most:,} are read"
            )
    return reasons


def clear_rows(frame: pl.DataFrame, rows: Iterable[int], columns: Iterable[str]) -> pl.DataFrame:
    """Return the frame with null in these rows of these columns."""
    is_kept_R = np.ones(len(frame), bool)
    is_kept_R[list(rows)] = False
    kept = pl.Series(is_kept_R)
    return frame.with_columns(pl.when(kept).then(pl.col(name)).alias(name) for name in columns)


def drop_oversized_rows(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Return the rows whose cells are all within the bounds."""
    reasons = find_oversized_rows(frame, columns)
    if not reasons:
        return frame
    is_kept_R = np.ones(len(frame), bool)
    is_kept_R[list(reasons)] = False
    return frame.filter(pl.Series(is_kept_R))


def _measure_cells(column: pl.Series) -> tuple[str, int, NDArray[np.int64]]:
    """Return the unit, the bound and the size of each cell; 0 for null and for single values."""
    dtype = column.dtype
    if isinstance(dtype, pl.Struct) and "bytes" in {field.name for field in dtype.fields}:
        return _measure_cells(column.struct.field("bytes"))
    if dtype == pl.String:
        unit, most, sizes = "bytes of text", MAX_TEXT_BYTES, column.str.len_bytes()
    elif dtype == pl.Binary:
        unit, most, sizes = "bytes", MAX_FILE_BYTES, column.bin.size("b")
    elif isinstance(dtype, pl.List):
        unit, most, sizes = "elements", MAX_LIST_LENGTH, column.list.len()
    else:
        return "", 0, np.zeros(len(column), np.int64)
    return unit, most, sizes.fill_null(0).cast(pl.Int64).to_numpy()
