"""Linked files: files whose paths are in the rows of a source, such as images."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import fsspec
import polars as pl

from tasks.ingestion.files.listing import SourceFile, fetch_file, scan_file
from tasks.storage.store import Store, open_staging_dir


def fingerprint_linked_files(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: Sequence[SourceFile],
    *,
    columns: Sequence[str],
) -> dict[str, str]:
    """Hash the sizes and times of the linked files of each source file.

    Args:
        store: whose staging folder takes remote source files.
        fs: the filesystem.
        files: of the source.
        columns: that hold paths.

    Returns:
        SHA-256 by the source file's path; empty where no column holds paths.
    """
    if not columns:
        return {}
    hashes = {}
    with open_staging_dir(store) as folder:
        for file in files:
            scan = scan_file(fetch_file(fs, file, folder), file)
            root = PurePosixPath(file.path).parent
            stamps = [
                f"{name}:{_read_stamp(fs, root, name)};" for name in _list_paths(scan, columns)
            ]
            hashes[file.path] = hashlib.sha256("".join(stamps).encode()).hexdigest()
    return hashes


def read_linked_file(
    fs: fsspec.AbstractFileSystem, root: PurePosixPath, path: str | None
) -> bytes | None:
    """Read a linked file; None for a null path or a file that does not exist."""
    if path is None:
        return None
    try:
        return bytes(fs.cat_file(_resolve_path(root, path)))
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return None


def _list_paths(scan: pl.LazyFrame, columns: Sequence[str]) -> list[str]:
    """List the distinct paths in these columns, sorted."""
    schema = scan.collect_schema()
    paths = [pl.col(c).drop_nulls().unique() for c in columns if schema.get(c) == pl.String]
    return sorted({name for path in paths for name in scan.select(path).collect().to_series()})


def _resolve_path(root: PurePosixPath, path: str) -> str:
    """Resolve a path from a row against the folder of the row's own file."""
    return path if "://" in path or path.startswith("/") else str(root / path)


def _read_stamp(fs: fsspec.AbstractFileSystem, root: PurePosixPath, path: str) -> str:
    """Return a file's size and its tag or time, which change when it is written."""
    try:
        info = fs.info(_resolve_path(root, path))
    except (FileNotFoundError, ValueError):
        return "absent"
    times = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified"))
    return f"{info.get('size')}:{next((str(time) for time in times if time is not None), '')}"
