"""The byte-order mark of UTF-8, which some programs write at the begin of a text file.

CSV readers skip it; Polars' reader of JSON Lines takes it for a part of the first row.
"""

import codecs
import gzip
import hashlib
import io
import shutil
import zlib
from pathlib import Path


def strip_byte_order_mark(path: Path, folder: Path) -> Path:
    """Return the path of a file without the mark: a copy in `folder` where it has one.

    Args:
        path: of a text file, plain or compressed by gzip; others are returned as they are.
        folder: for the copy, which is not compressed.
    """
    try:
        with _open(path) as source:
            if source.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                return path
            name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
            target = folder / f"{name}{Path(path.name.removesuffix('.gz')).suffix}"
            with target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
            return target
    except (gzip.BadGzipFile, zlib.error, EOFError):
        # A damaged file: its reader tells of it.
        return path


def _open(path: Path) -> io.BufferedIOBase:
    """Open a file, and decompress it where its name says that it is compressed by gzip."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")
