"""Linked files: files whose paths are in the rows of a source, such as images."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import fsspec
import polars as pl
from fsspec.implementations.local import LocalFileSystem

from models.features.row_bounds import MAX_FILE_BYTES
from tasks.errors import SourceError
from tasks.ingestion.files.listing import SourceFile, fetch_file, scan_file
from tasks.storage.file_hashes import hash_changed_files
from tasks.storage.store import Store, open_staging_dir

_ABSENT = "absent"


def fingerprint_linked_files(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: Sequence[SourceFile],
    *,
    columns: Sequence[str],
) -> dict[str, str]:
    """Hash the linked files of each source file: local ones by content, else by tag and size.

    Args:
        store: whose staging folder takes remote source files.
        fs: the filesystem.
        files: of the source.
        columns: that hold paths.

    Returns:
        SHA-256 by the source file's path; empty where no column holds paths.

    Raises:
        SourceError: a linked file exists but cannot be read.
    """
    if not columns:
        return {}
    linked = {}
    with open_staging_dir(store) as folder:
        for file in files:
            scan = scan_file(fetch_file(fs, file, folder), file)
            root = PurePosixPath(file.path).parent
            names = _list_paths(scan, columns)
            linked[file.path] = {name: _resolve_path(root, name) for name in names}
    paths = sorted({path for by_name in linked.values() for path in by_name.values()})
    if isinstance(fs, LocalFileSystem):
        marks = _hash_local_files(paths, group=f"{files[0].path}: {', '.join(columns)}")
    else:
        marks = {path: _read_stamp(fs, path) for path in paths}
    texts = {
        source: "".join(f"{name}:{marks[path]};" for name, path in by_name.items())
        for source, by_name in linked.items()
    }
    return {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}


def read_linked_file(
    fs: fsspec.AbstractFileSystem, root: PurePosixPath, path: str | None
) -> bytes | None:
    """Read a linked file; None for a null path, or where there is no file.

    A file beyond the bound is cut one byte above it, so that its row is quarantined for its size.
    """
    if path is None:
        return None
    try:
        resolved = _resolve_path(root, path)
        # A pipe would be waited for without end.
        if isinstance(fs, LocalFileSystem) and not fs.isfile(resolved):
            return None
        return bytes(fs.cat_file(resolved, end=MAX_FILE_BYTES + 1))
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


def _hash_local_files(paths: Sequence[str], *, group: str) -> dict[str, str]:
    """Return the hash of the content of each file, by its path.

    Raises:
        SourceError: one cannot be read.
    """
    local = {path: Path(path.removeprefix("file://")) for path in paths}
    files = {path: file for path, file in local.items() if _is_file(file)}
    try:
        hashes = hash_changed_files(list(files.values()), group=group)
    except OSError as error:
        raise SourceError.of(
            f"{error.filename} cannot be read: {error.strerror}",
            hint="let the user of this process read it",
        ) from error
    return {path: hashes[files[path]] if path in files else _ABSENT for path in paths}


def _is_file(path: Path) -> bool:
    """Return whether a path is one of a file; one that no filesystem can have is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _read_stamp(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Return a remote file's size and its tag or time, which change when it is written."""
    try:
        info = fs.info(path)
    except (FileNotFoundError, ValueError):
        return _ABSENT
    times = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified"))
    return f"{info.get('size')}:{next((str(time) for time in times if time is not None), '')}"
