"""List the files of a source, scan them, and find damaged ones."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import polars as pl
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from models.extras import describe_install
from tasks.errors import SourceDownError, SourceError, StoreError
from tasks.ingestion.files.byte_order_mark import strip_byte_order_mark
from tasks.ingestion.files.formats import SCANNERS, Format
from tasks.ingestion.files.nesting import (
    NestingError,
    check_parquet_nesting,
    check_schema_nesting,
)
from tasks.storage.disk_errors import build_disk_error
from tasks.storage.store import Store

_FORMATS: dict[str, Format] = {
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

_COMPRESSED_SUFFIXES = (".gz", ".zst", ".zlib")
"""Of compressed text files; Parquet and Arrow compress internally."""

_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure"}
"""Ostinato's extra with the package of each filesystem, by the scheme of an address."""

_TEXT_FORMATS: tuple[Format, ...] = ("csv", "tsv", "jsonl")

_PARTITION = re.compile(r"([^=/]+)=([^/]*)")

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file of the source."""

    path: str
    size: int
    stamp: str
    """Changes when the file is written: times and inode of a local file, tag of a remote one."""
    format: Format
    partition: Mapping[str, str]
    """Columns and values from the names of its folders (hive partitions)."""


def list_files(
    uri: str, *, store: Store | None = None
) -> tuple[fsspec.AbstractFileSystem, list[SourceFile]]:
    """Find the source's files, sorted by path.

    Args:
        uri: of a file, a folder or a glob.
        store: whose files are left out where the folder or the glob has them too.

    Raises:
        SourceError: there are none, one has an unknown format, or the storage cannot be opened.
    """
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        entries = _find_entries(fs, path)
        if store is not None:
            entries = _leave_out_store(entries, fs, path, store)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(uri.partition("://")[0])
        raise SourceError.of(
            f"source.uri: '{uri}' cannot be opened: {error}",
            hint=f"install the package of that filesystem: {describe_install(extra)}"
            if extra
            else "give a path, or an address that begins with s3://, gs://, az:// or https://",
        ) from error
    except PermissionError as error:
        raise SourceError.of(
            f"source.uri: '{uri}' may not be read: {error}",
            hint="give this user the right to read it",
        ) from error
    if not entries:
        raise SourceError.of(
            f"source.uri: '{uri}' names no file",
            found=f"Looked for {', '.join(_FORMATS)} from {Path.cwd()}.",
            hint="correct the path; a relative one starts from the working directory of the run",
        )
    return fs, [_describe_file(entries[name], name, root=path) for name in sorted(entries)]


def check_unchanged(fs: fsspec.AbstractFileSystem, file: SourceFile) -> None:
    """Check that a file was not written while it was read.

    Raises:
        SourceDownError: it was; a retry reads its new content.
    """
    with _translate_errors(file.path):
        fs.invalidate_cache()
        now = _read_size_and_stamp(fs.info(file.path), file.path)
    if now != (file.size, file.stamp):
        raise SourceDownError.of(
            f"{file.path} was written while it was read", hint="the run retries automatically"
        )


def hash_file(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Return the SHA-256 of a file's content, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with _translate_errors(path), fs.open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def fetch_file(fs: fsspec.AbstractFileSystem, file: SourceFile, folder: Path) -> Path:
    """Return a local path of the file; a remote one is downloaded into `folder`.

    JSON Lines that begin with a byte-order mark are copied into `folder` without it.
    """
    path = Path(file.path) if isinstance(fs, LocalFileSystem) else _download(fs, file, folder)
    with _translate_errors(file.path):
        return strip_byte_order_mark(path, folder) if file.format == "jsonl" else path


def _download(fs: fsspec.AbstractFileSystem, file: SourceFile, folder: Path) -> Path:
    """Download a remote file into `folder`, and return its path."""
    name = hashlib.sha256(file.path.encode()).hexdigest()[:16]
    target = folder / f"{name}{''.join(Path(_strip_query(file.path)).suffixes[-2:])}"
    with _translate_errors(file.path):
        fs.get_file(file.path, str(target))
    return target


def scan_file(path: Path, file: SourceFile) -> pl.LazyFrame:
    """Scan one file, with the columns of its partition as text.

    Raises:
        SourceError: it is damaged or empty, or has no columns.
    """
    with _translate_errors(file.path):
        size = path.stat().st_size
    if size == 0:
        raise SourceError.of(
            f"{file.path}: the file is empty", hint="check the program that writes it"
        )
    try:
        if file.format == "parquet":
            check_parquet_nesting(path)
        scan = SCANNERS[file.format](path)
        schema = scan.collect_schema()
        check_schema_nesting(schema)
    except (pl.exceptions.PolarsError, pa.ArrowException, RecursionError, OSError) as error:
        raise _describe_damage(file, error) from error
    except NestingError as error:
        raise SourceError.of(
            f"{file.path}: {error}", hint="leave this column out, or flatten it"
        ) from error
    names = schema.names()
    if not names:
        raise SourceError.of(
            f"{file.path}: the file has no columns", hint="check the program that writes it"
        )
    own = {name: value for name, value in file.partition.items() if name not in names}
    return scan.with_columns(
        pl.lit(None if value == _NULL_PARTITION else value, pl.String).alias(name)
        for name, value in own.items()
    )


def choose_partition_types(files: Sequence[SourceFile]) -> dict[str, pl.DataType]:
    """Choose Int64, Date or String for each partition column, so that all of its values fit."""
    values: dict[str, set[str]] = {}
    for file in files:
        for name, value in file.partition.items():
            values.setdefault(name, set()).add(value)
    types: dict[str, pl.DataType] = {}
    for name, texts in values.items():
        known = texts - {_NULL_PARTITION}
        integers = all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in known)
        dates = all(_is_iso_date(value) for value in known)
        types[name] = pl.Int64() if integers else pl.Date() if dates else pl.String()
    return types


def find_damaged_file(
    paths: list[Path], files: list[SourceFile], error: Exception
) -> SourceError | StoreError:
    """Read each file alone to find the one that made a copy fail, and return the error to raise."""
    if found := build_disk_error(error, where="the snapshot"):
        return found
    for path, file in zip(paths, files, strict=True):
        try:
            for _ in SCANNERS[file.format](path).collect_batches():
                pass
        except (pl.exceptions.PolarsError, OSError) as cause:
            return _describe_damage(file, cause)
    names = ", ".join(file.path for file in files)
    return SourceError.of(f"{names}: {error}", hint="check these files")


def _find_entries(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    """Expand a glob or a folder; hidden files and other formats in a folder are left out."""
    fs.invalidate_cache()
    if "http" in fs.protocol:
        return {path: fs.info(path)} if fs.exists(path) else {}
    if any(character in path for character in "*?[") and not fs.exists(path):
        matches = fs.glob(path, detail=True)
        return {
            name: info
            for name, info in matches.items()
            if not fs.isdir(name) and not _is_hidden_from_glob(name, path)
        }
    if fs.isdir(path):
        return {
            name: info
            for name, info in fs.find(path, detail=True).items()
            if not _is_hidden(name.removeprefix(path)) and _detect_format(name)
        }
    return {path: fs.info(path)} if fs.exists(path) else {}


def _is_hidden(relative: str) -> bool:
    """Check whether a file or one of its folders begins with "." or "_" and so holds no data."""
    return any(
        part.startswith((".", "_")) and not _PARTITION.fullmatch(part)
        for part in relative.split("/")
    )


def _is_hidden_from_glob(path: str, pattern: str) -> bool:
    """Check whether a file or one of its folders begins with ".", and the pattern names no such.

    As in a shell, `*` stands for no hidden name; so `**/*.parquet` reads no `.ostinato` folder.
    """
    named = [part for part in pattern.split("/") if part.startswith(".")]
    hidden = (part for part in path.split("/") if part.startswith("."))
    return any(not any(fnmatchcase(part, name) for name in named) for part in hidden)


def _leave_out_store(
    entries: dict[str, dict[str, Any]], fs: fsspec.AbstractFileSystem, path: str, store: Store
) -> dict[str, dict[str, Any]]:
    """Leave out the files of a store, and of its local cache, unless the path itself lies there."""
    roots = [store.root] if type(fs) is type(store.fs) else []
    if isinstance(fs, LocalFileSystem):
        roots.append(str(store.cache_dir))
    prefixes = tuple(f"{root}/" for root in roots if not path.startswith(f"{root}/"))
    return {name: info for name, info in entries.items() if not name.startswith(prefixes)}


def _strip_query(path: str) -> str:
    """Remove the query from a web address; other paths may contain "?" and "#"."""
    return re.sub(r"[?#].*$", "", path) if path.startswith(("http://", "https://")) else path


def _detect_format(path: str) -> Format | None:
    """Return a file's format by its suffixes; None for an unknown one."""
    bare = _strip_query(path).lower()
    inner, dot, last = bare.rpartition(".")
    if f"{dot}{last}" in _COMPRESSED_SUFFIXES:
        found = _FORMATS.get(Path(inner).suffix)
        return found if found in _TEXT_FORMATS else None
    return _FORMATS.get(f"{dot}{last}")


def _describe_file(info: Mapping[str, Any], path: str, *, root: str) -> SourceFile:
    """Describe a file that was found under `root`.

    Raises:
        SourceError: its format is unknown.
    """
    kind = _detect_format(path)
    if kind is None:
        raise SourceError.of(
            f"{path}: files with the suffix '{Path(path).suffix}' cannot be read",
            hint=f"convert it to one of {', '.join(_FORMATS)} "
            f"(text may be compressed: {', '.join(_COMPRESSED_SUFFIXES)})",
        )
    fixed, *wild = re.split(r"[*?\[]", root, maxsplit=1)
    relative = path.removeprefix(fixed.rpartition("/")[0] if wild and path != root else root)
    folders = relative.split("/")[:-1]
    pairs = [match.groups() for part in folders if (match := _PARTITION.fullmatch(part))]
    partition = {unquote(name): unquote(value) for name, value in pairs}
    size, stamp = _read_size_and_stamp(info, path)
    return SourceFile(path=path, size=size, stamp=stamp, format=kind, partition=partition)


def _read_size_and_stamp(info: Mapping[str, Any], path: str) -> tuple[int, str]:
    """Return a file's size and its stamp, see `SourceFile`."""
    if "ino" in info and "mtime" in info:
        # stat() follows links. A copy may keep an old modification time, but not the change time.
        status = Path(path).stat()
        return status.st_size, f"{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
    times = (info.get(key) for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime"))
    return int(info.get("size") or 0), next((str(t) for t in times if t is not None), "")


@contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    """Translate storage errors, so that only an unreachable storage is retried.

    Raises:
        SourceDownError: the storage cannot be reached.
        SourceError: the file does not exist or may not be read.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise SourceError.of(
            f"{path} cannot be read: {error}",
            hint="check that it exists and that this user may read it",
        ) from error
    except (TimeoutError, ConnectionError) as error:
        raise SourceDownError.of(
            f"{path} cannot be reached: {error}", hint="the run retries automatically"
        ) from error


def _is_iso_date(text: str) -> bool:
    """Check for a date in the form YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _describe_damage(file: SourceFile, error: Exception) -> SourceError:
    """Build the error for a file that cannot be read."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    hint = "write it again; the source was not changed and no snapshot was made"
    if "utf-8" in text.lower() or "utf8" in text.lower():
        hint = "convert it to UTF-8, for example: iconv -f LATIN1 -t UTF-8"
    return SourceError.of(f"{file.path} cannot be read as {file.format}: {text}", hint=hint)
