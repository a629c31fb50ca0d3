"""The source where it lies: which files it has, what they are, and which of them is damaged."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import fsspec
import polars as pl
from fsspec.implementations.local import LocalFileSystem

from tasks.errors import SourceError, StoreError

Format = Literal["parquet", "csv", "jsonl"]

SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}

SCANNERS: dict[Format, Callable[[Path | io.BytesIO], pl.LazyFrame]] = {
    "parquet": pl.scan_parquet,
    # Every row takes part in the guess of a type: a late surprise would fail the run.
    "csv": lambda path: pl.scan_csv(path, try_parse_dates=True, infer_schema_length=None),
    "jsonl": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Where the data is."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    uri: str
    """A Parquet, CSV or JSON Lines file, a glob, a folder, or an s3:// URI of one of these."""
    time: str | None = None
    """Column with the time of each row; orders a series, and lets a split be made by time."""
    entity: str | None = None
    """Column that tells several series of one table apart."""

    def __post_init__(self) -> None:
        """Refuse an empty place."""
        if not self.uri.strip():
            raise ValueError("uri: name a file, a glob, a folder or an s3:// URI")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the source."""

    path: str
    fingerprint: str
    """Hash of the content on this machine; the storage's own tag and the size elsewhere."""
    format: Format


def list_files(uri: str) -> tuple[fsspec.AbstractFileSystem, list[SourceFile]]:
    """Find the source's files, sorted by path.

    Raises:
        SourceError: there are none, or one is of an unknown kind.
    """
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        paths = find_paths(fs, path)
    except (ImportError, ValueError) as error:
        raise SourceError.of(
            f"source.uri: '{uri}' cannot be opened: {error}",
            mend="install the package of that filesystem (s3fs for s3://)",
        ) from error
    except PermissionError as error:
        raise SourceError.of(
            f"source.uri: '{uri}' may not be read: {error}", mend="give this user the right to"
        ) from error
    if not paths:
        raise SourceError.of(
            f"source.uri: '{uri}' names no file",
            found=f"Looked for {', '.join(SUFFIXES)} from {Path.cwd()}.",
            mend="correct the path; a relative one starts in the folder where the run starts",
        )
    return fs, [SourceFile(p, fingerprint(fs, p), format_of(p)) for p in sorted(paths)]


def find_paths(fs: fsspec.AbstractFileSystem, path: str) -> list[str]:
    """Expand a glob or a folder; hidden files and other kinds in a folder are left out."""
    if any(sign in path for sign in "*?["):
        return [found for found in fs.glob(path) if not fs.isdir(found)]
    if fs.isdir(path):
        return [
            found
            for found in fs.find(path)
            if Path(found).suffix in SUFFIXES and not Path(found).name.startswith((".", "_"))
        ]
    return [path] if fs.exists(path) else []


def format_of(path: str) -> Format:
    """Tell a file's format by its suffix.

    Raises:
        SourceError: the suffix is unknown.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SourceError.of(
            f"{path}: files of kind '{suffix}' cannot be read",
            mend=f"convert it to one of {', '.join(SUFFIXES)}",
        )
    return SUFFIXES[suffix]


def fingerprint(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Identify a file's content: by its hash here, by tag and size in remote storage."""
    if isinstance(fs, LocalFileSystem):
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    info = fs.info(path)
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("mtime")
    if tag is None:
        return hashlib.sha256(fs.cat_file(path)).hexdigest()
    return f"{tag}:{info['size']}"


def open_file(path: Path, file: SourceFile) -> pl.LazyFrame:
    """Scan one file and read its schema.

    Raises:
        SourceError: it is damaged or empty.
    """
    if path.stat().st_size == 0:
        raise SourceError.of(f"{file.path}: the file is empty", mend="check what writes it")
    try:
        scan = SCANNERS[file.format](path)
        scan.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise unreadable(file, error) from error
    return scan


def refuse_mixed(scans: list[pl.LazyFrame], files: list[SourceFile]) -> None:
    """Refuse files whose columns differ.

    Raises:
        SourceError: names the first file that differs and how.
    """
    first = scans[0].collect_schema()
    for scan, file in zip(scans[1:], files[1:], strict=True):
        schema = scan.collect_schema()
        if schema != first:
            differing = sorted(set(schema.items()) ^ set(first.items()), key=str)
            raise SourceError.of(
                f"{file.path} does not fit {files[0].path}: their columns differ",
                found="Differing: " + ", ".join(f"{name} ({dtype})" for name, dtype in differing),
                mend="bring the files to the same columns, or narrow source.uri",
            )


def blame(paths: list[Path], files: list[SourceFile], error: Exception) -> SourceError | StoreError:
    """Find out which file broke the copy, by reading each alone."""
    if "os error 28" in str(error):
        return StoreError.from_os(OSError(28, "No space left on device"), where="the snapshot")
    for path, file in zip(paths, files, strict=True):
        try:
            for _ in SCANNERS[file.format](path).collect_batches():
                pass
        except pl.exceptions.PolarsError as cause:
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


def scan_source(source: SourceConfig) -> pl.LazyFrame:
    """Look at the source where it lies, without a copy; a remote file is read into memory.

    Raises:
        SourceError: the source is missing, empty, damaged or mixed.
    """
    fs, files = list_files(source.uri)
    if isinstance(fs, LocalFileSystem):
        scans = [open_file(Path(file.path), file) for file in files]
    else:
        scans = [SCANNERS[file.format](io.BytesIO(fs.cat_file(file.path))) for file in files]
    refuse_mixed(scans, files)
    return pl.concat(scans, how="vertical")


@contextmanager
def damage_named(source: SourceConfig) -> Iterator[None]:
    """Turn a failure to read the source where it lies into the name of the damaged file.

    Raises:
        SourceError: names the file and the mend.
    """
    try:
        yield
    except pl.exceptions.PolarsError as error:
        _, files = list_files(source.uri)
        raise blame([Path(file.path) for file in files], files, error) from error
