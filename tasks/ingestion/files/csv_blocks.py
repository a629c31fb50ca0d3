"""A text table in blocks of whole lines, so that memory does not grow with the file.

Polars reads some hundred MB of a text file ahead. Where a file has no quotes a line feed always
ends a row, so that it can be cut there; other files are left to Polars.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

BLOCK_BYTES = 2 * 2**20

PLAIN = (".csv", ".tsv")


def is_plain(path: object) -> bool:
    """Tell a text file that is neither compressed nor has a quote in it."""
    if not isinstance(path, Path) or path.suffix.lower() not in PLAIN:
        return False
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            if b'"' in block:
                return False
    return True


def line_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Cut a file into blocks of whole lines."""
    held = b""
    with path.open("rb") as file:
        while piece := file.read(size):
            block, feed, rest = (held + piece).rpartition(b"\n")
            held = rest
            if feed:
                yield block + feed
    if held:
        yield held


def read_blocks(
    path: Path, *, separator: str, schema: Mapping[str, pl.DataType], size: int = BLOCK_BYTES
) -> Iterator[pl.DataFrame]:
    """Read a text table with a header, block by block, in these types.

    Args:
        path: a plain file.
        separator: of the columns.
        schema: their names and types.
        size: bytes of a block, more where a line is longer.

    Raises:
        ComputeError: a value is not of its column's type, or the file is damaged.
    """
    header = True
    for block in line_blocks(path, size):
        if header or block.strip():
            yield pl.read_csv(block, separator=separator, schema=dict(schema), has_header=header)
        header = False
