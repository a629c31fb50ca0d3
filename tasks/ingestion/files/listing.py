"""The files of a source: which they are, what they hold, and which of them is damaged."""

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import polars as pl
from fsspec.implementations.local import LocalFileSystem

from tasks.errors import SourceDownError, SourceError, StoreError
from tasks.ingestion.files.formats import SCANNERS, Format

SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}

COMPRESSED = (".gz", ".zst", ".zlib")
"""Endings of compressed text files; Parquet and Arrow compress inside."""

TEXT: tuple[Format, ...] = ("csv", "tsv", "jsonl")

PARTITION = re.compile(r"([^=/]+)=([^/]*)")

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file of the source."""

    path: str
    size: int
    stamp: str
    """What changes when the file is written: its time here, its tag in remote storage."""
    format: Format
    partition: Mapping[str, str]
    """Columns and values that the names of its folders give (hive partitions)."""


def list_files(uri: str) -> tuple[fsspec.AbstractFileSystem, list[SourceFile]]:
    """Find the source's files, sorted by path.

    Raises:
        SourceError: there are none, or one is of an unknown kind.
    """
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        entries = find_files(fs, path)
    except (ImportError, ValueError) as error:
        raise SourceError.of(
            f"source.uri: '{uri}' cannot be opened: {error}",
            mend="install the package of that filesystem: pip install 'ostinato[s3]' for s3://, "
            "[gcs] for gs://, [azure] for az://",
        ) from error
    except PermissionError as error:
        raise SourceError.of(
            f"source.uri: '{uri}' may not be read: {error}", mend="give this user the right to"
        ) from error
    if not entries:
        raise SourceError.of(
            f"source.uri: '{uri}' names no file",
            found=f"Looked for {', '.join(SUFFIXES)} from {Path.cwd()}.",
            mend="correct the path; a relative one starts in the folder where the run starts",
        )
    return fs, [describe(entries[found], found, root=path) for found in sorted(entries)]


def find_files(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    """Expand a glob or a folder; hidden files and other kinds in a folder are left out."""
    fs.invalidate_cache()
    if "http" in fs.protocol:
        return {path: fs.info(path)} if fs.exists(path) else {}
    if any(sign in path for sign in "*?[") and not fs.exists(path):
        found = fs.glob(path, detail=True)
        return {name: info for name, info in found.items() if not fs.isdir(name)}
    if fs.isdir(path):
        return {
            name: info
            for name, info in fs.find(path, detail=True).items()
            if not is_hidden(name.removeprefix(path)) and kind_of(name)
        }
    return {path: fs.info(path)} if fs.exists(path) else {}


def is_hidden(below: str) -> bool:
    """Tell a file that is not meant as data, by its own name or a folder's on the way to it."""
    return any(
        part.startswith((".", "_")) and not PARTITION.fullmatch(part) for part in below.split("/")
    )


def without_query(path: str) -> str:
    """Take the query off an address of the web; in other names these signs are letters."""
    return re.sub(r"[?#].*$", "", path) if path.startswith(("http://", "https://")) else path


def kind_of(path: str) -> Format | None:
    """Tell a file's format by its endings, or None."""
    bare = without_query(path).lower()
    inner, dot, last = bare.rpartition(".")
    if f"{dot}{last}" in COMPRESSED:
        found = SUFFIXES.get(Path(inner).suffix)
        return found if found in TEXT else None
    return SUFFIXES.get(f"{dot}{last}")


def describe(info: Mapping[str, Any], path: str, *, root: str) -> SourceFile:
    """Describe a file that was found under `root`.

    Raises:
        SourceError: its kind is unknown.
    """
    kind = kind_of(path)
    if kind is None:
        raise SourceError.of(
            f"{path}: files of kind '{Path(path).suffix}' cannot be read",
            mend=f"convert it to one of {', '.join(SUFFIXES)} "
            f"(text may be compressed: {', '.join(COMPRESSED)})",
        )
    fixed, *wild = re.split(r"[*?\[]", root, maxsplit=1)
    below = path.removeprefix(fixed.rpartition("/")[0] if wild and path != root else root)
    folders = below.split("/")[:-1]
    pairs = [match.groups() for part in folders if (match := PARTITION.fullmatch(part))]
    partition = {unquote(name): unquote(value) for name, value in pairs}
    size, stamp = state_of(info, path)
    return SourceFile(path=path, size=size, stamp=stamp, format=kind, partition=partition)


def state_of(info: Mapping[str, Any], path: str) -> tuple[int, str]:
    """Give a file's size, and what changes when it is written: times here, a tag elsewhere."""
    if "ino" in info and "mtime" in info:
        # Behind a link lies another file; a copy may bring an old time along, but not this one.
        found = Path(path).stat()
        return found.st_size, f"{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"
    times = (info.get(key) for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime"))
    return int(info.get("size") or 0), next((str(t) for t in times if t is not None), "")


def refuse_changed(fs: fsspec.AbstractFileSystem, file: SourceFile) -> None:
    """Refuse a file that was written while it was read.

    Raises:
        SourceDownError: it was; the next try reads it as it is then.
    """
    with reachable(file.path):
        fs.invalidate_cache()
        now = state_of(fs.info(file.path), file.path)
    if now != (file.size, file.stamp):
        raise SourceDownError.of(
            f"{file.path} was written while it was read", mend="the run tries again by itself"
        )


def hash_file(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Hash a file's content, read in blocks."""
    digest = hashlib.sha256()
    with reachable(path), fs.open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def localize(fs: fsspec.AbstractFileSystem, file: SourceFile, folder: Path) -> Path:
    """Return the file's path on this machine, fetched where it lies elsewhere."""
    if isinstance(fs, LocalFileSystem):
        return Path(file.path)
    name = hashlib.sha256(file.path.encode()).hexdigest()[:16]
    target = folder / f"{name}{''.join(Path(without_query(file.path)).suffixes[-2:])}"
    with reachable(file.path):
        fs.get_file(file.path, str(target))
    return target


@contextmanager
def reachable(path: str) -> Iterator[None]:
    """Tell a storage that does not answer, which is worth a retry, from a file that is gone.

    Raises:
        SourceDownError: the storage cannot be reached.
        SourceError: the file is gone or may not be read.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise SourceError.of(
            f"{path} cannot be read: {error}", mend="check that it is there and may be read"
        ) from error
    except (TimeoutError, ConnectionError) as error:
        raise SourceDownError.of(
            f"{path} cannot be reached: {error}", mend="the run tries again by itself"
        ) from error


def open_file(path: Path, file: SourceFile) -> pl.LazyFrame:
    """Scan one file and read its schema, with the columns of its partition.

    Raises:
        SourceError: it is damaged or empty.
    """
    with reachable(file.path):
        size = path.stat().st_size
    if size == 0:
        raise SourceError.of(f"{file.path}: the file is empty", mend="check what writes it")
    try:
        scan = SCANNERS[file.format](path)
        names = scan.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, error) from error
    if not names:
        raise SourceError.of(f"{file.path}: the file has no columns", mend="check what writes it")
    own = {name: value for name, value in file.partition.items() if name not in names}
    return scan.with_columns(
        pl.lit(None if value == NO_VALUE else value, pl.String).alias(name)
        for name, value in own.items()
    )


def partition_types(files: Sequence[SourceFile]) -> dict[str, pl.DataType]:
    """Choose a type for each partition column that all of its values fit: number, day or text."""
    values: dict[str, set[str]] = {}
    for file in files:
        for name, value in file.partition.items():
            values.setdefault(name, set()).add(value)
    types: dict[str, pl.DataType] = {}
    for name, found in values.items():
        known = found - {NO_VALUE}
        whole = all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in known)
        day = all(is_day(value) for value in known)
        types[name] = pl.Int64() if whole else pl.Date() if day else pl.String()
    return types


def is_day(text: str) -> bool:
    """Tell a date as ISO 8601 writes it."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def blame(paths: list[Path], files: list[SourceFile], error: Exception) -> SourceError | StoreError:
    """Find out which file broke the copy, by reading each alone."""
    if "os error 28" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
        full = OSError(errno.ENOSPC, "No space left on device")
        return StoreError.from_os(full, where="the snapshot")
    for path, file in zip(paths, files, strict=True):
        try:
            for _ in SCANNERS[file.format](path).collect_batches():
                pass
        except (pl.exceptions.PolarsError, OSError) as cause:
            return unreadable(file, cause)
    names = ", ".join(file.path for file in files)
    return SourceError.of(f"{names}: {error}", mend="check these files")


def unreadable(file: SourceFile, error: Exception) -> SourceError:
    """Say what is wrong with a file."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    mend = "write it anew; the source was not changed and no snapshot was made"
    if "utf-8" in text.lower() or "utf8" in text.lower():
        mend = "convert it to UTF-8, for example: iconv -f LATIN1 -t UTF-8"
    return SourceError.of(f"{file.path} cannot be read as {file.format}: {text}", mend=mend)
