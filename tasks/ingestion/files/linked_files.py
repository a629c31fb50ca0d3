"""Files that the rows of a source name, such as images: what tells that one of them has changed."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import fsspec
import polars as pl

from tasks.ingestion.files.listing import SourceFile, localize, open_file
from tasks.storage.store import Store, staging_dir


def fingerprint_linked(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: Sequence[SourceFile],
    *,
    columns: Sequence[str],
) -> dict[str, str]:
    """Hash the sizes and times of the files that each source file's rows name.

    Returns:
        The hash by the source file's path; empty where no column holds paths.
    """
    if not columns:
        return {}
    found = {}
    with staging_dir(store) as folder:
        for file in files:
            scan = open_file(localize(fs, file, folder), file)
            root = PurePosixPath(file.path).parent
            stamps = [f"{name}:{stamp_of(fs, root, name)};" for name in names_in(scan, columns)]
            found[file.path] = hashlib.sha256("".join(stamps).encode()).hexdigest()
    return found


def names_in(scan: pl.LazyFrame, columns: Sequence[str]) -> list[str]:
    """List the paths that rows name, sorted."""
    schema = scan.collect_schema()
    paths = [pl.col(c).drop_nulls().unique() for c in columns if schema.get(c) == pl.String]
    return sorted({name for path in paths for name in scan.select(path).collect().to_series()})


def full_path(root: PurePosixPath, path: str) -> str:
    """Give the place of a file that a row names: from the folder of the row's own file."""
    return path if "://" in path or path.startswith("/") else str(root / path)


def stamp_of(fs: fsspec.AbstractFileSystem, root: PurePosixPath, path: str) -> str:
    """Give what changes when a file is written: its size, and its time or tag."""
    try:
        info = fs.info(full_path(root, path))
    except (FileNotFoundError, ValueError):
        return "absent"
    times = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified"))
    return f"{info.get('size')}:{next((str(time) for time in times if time is not None), '')}"


def read_linked(
    fs: fsspec.AbstractFileSystem, root: PurePosixPath, path: str | None
) -> bytes | None:
    """Read a file that a row names, or None where there is none."""
    if path is None:
        return None
    try:
        return bytes(fs.cat_file(full_path(root, path)))
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return None
