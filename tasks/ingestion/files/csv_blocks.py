"""Read a text table in blocks of whole lines, so that memory does not grow with the file.

Polars reads some hundred MB of a text file ahead. In a file without quotes every line feed ends a
row, so that it can be split there; files with quotes are left to Polars.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

_BLOCK_BYTES = 2 * 2**20

_TEXT_SUFFIXES = (".csv", ".tsv")


def is_unquoted_text(path: object) -> bool:
    """Check that this is an uncompressed .csv or .tsv file without a quote; reads it in full."""
    if not isinstance(path, Path) or path.suffix.lower() not in _TEXT_SUFFIXES:
        return False
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if b'"' in block:
                return False
    return True


def read_csv_blocks(
    path: Path, *, separator: str, schema: Mapping[str, pl.DataType], size: int = _BLOCK_BYTES
) -> Iterator[pl.DataFrame]:
    """Read a text table with a header, one frame for each block.

    Args:
        path: a file for which `is_unquoted_text` holds.
        separator: of the columns.
        schema: names and types of the columns.
        size: bytes of a block; more where a line is longer.

    Raises:
        polars.exceptions.ComputeError: a value does not fit its column's type, or the file is
            damaged.
    """
    header = True
    for block in _read_line_blocks(path, size):
        if header or block.strip():
            yield pl.read_csv(block, separator=separator, schema=dict(schema), has_header=header)
        header = False


def _read_line_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Read a file in blocks of whole lines of about `size` bytes."""
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(size):
            block, feed, rest = (rest + piece).rpartition(b"\n")
            if feed:
                yield block + feed
    if rest:
        yield rest
