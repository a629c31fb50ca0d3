"""The store's files, on any fsspec filesystem: small files are written whole or not at all."""

import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field

from tasks.errors import StoreError
from tasks.redaction import NO_SECRET_PATTERN, check_no_secret
from tasks.storage.disk_errors import translate_disk_errors
from tasks.storage.process_identity import ProcessIdentity, identify_process

FILE_SCHEMES = {
    "file", "memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "webhdfs",
    "sftp", "ssh", "smb", "oci",
}  # fmt: skip
"""Filesystems of fsspec with files that can be listed and read in parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """Where artifacts and checkpoints are kept."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    uri: Annotated[str, Field(json_schema_extra={"pattern": NO_SECRET_PATTERN})] = ".ostinato/store"
    """A folder, or a URI of any fsspec filesystem: s3://bucket/prefix, gs://..., memory://..."""
    cache: str = ".ostinato/cache"
    """Folder for local copies of artifacts of a remote store."""

    def __post_init__(self) -> None:
        """Refuse an empty URI, and a secret in it.

        Raises:
            ValueError: there is none, or it has a secret.
        """
        for name, value in (("uri", self.uri), ("cache", self.cache)):
            if not value.strip():
                raise ValueError(f"{name}: name a folder, or leave it out")
        check_no_secret(self.uri)
        check_scheme(self.uri, FILE_SCHEMES)


def check_scheme(uri: str, known: Collection[str]) -> None:
    """Refuse a URI of a scheme that is not read or written.

    Raises:
        ValueError: names the scheme and the known ones.
    """
    scheme, sign, _ = uri.partition(":")
    if sign and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]+", scheme) and scheme.lower() not in known:
        names = ", ".join(sorted(f"{name}://" for name in known))
        raise ValueError(f"uri: '{scheme}:' is not supported; name a path, or one of {names}")


@dataclass(frozen=True, slots=True)
class Store:
    """An opened store."""

    fs: fsspec.AbstractFileSystem
    root: str
    cache_dir: Path

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine, whose files can be read without a copy."""
        return isinstance(self.fs, LocalFileSystem)


def open_store(config: StoreConfig) -> Store:
    """Open the filesystem that `config.uri` names.

    Raises:
        StoreError: no installed filesystem opens such a URI, or it is a file.
    """
    try:
        fs, root = fsspec.core.url_to_fs(config.uri)
    except (ImportError, ValueError) as error:
        raise StoreError.of(
            f"store.uri: '{config.uri}' cannot be opened: {error}",
            hint="install the filesystem's package, or name a folder or a URI such as s3://...",
        ) from error
    if isinstance(fs, LocalFileSystem):
        _check_no_file("store.uri", Path(root))
    else:
        _check_no_file("store.cache", Path(config.cache))
    return Store(fs=fs, root=root.rstrip("/"), cache_dir=Path(config.cache).absolute())


def _check_no_file(key: str, folder: Path) -> None:
    """Check that neither a folder, which may not exist yet, nor one above it is a file.

    Raises:
        StoreError: names the key and the file.
    """
    for path in (folder, *folder.parents):
        if path.exists():
            if path.is_dir():
                return
            raise StoreError.of(
                f"{key}: '{path}' is a file, and artifacts are kept in a folder",
                hint="name another folder, or move the file away",
            )


def read_bytes(store: Store, path: str) -> bytes | None:
    """Read a small file of the store; None where it does not exist."""
    store.fs.invalidate_cache()
    try:
        return bytes(store.fs.cat_file(f"{store.root}/{path}"))
    except FileNotFoundError:
        return None


def write_bytes(store: Store, path: str, data: bytes) -> None:
    """Write or overwrite a small file of the store, whole or not at all."""
    full = f"{store.root}/{path}"
    with translate_os_errors(store):
        store.fs.makedirs(full.rpartition("/")[0], exist_ok=True)
        if store.is_local:
            with _write_aside(full, data) as partial:
                partial.replace(full)
        else:
            store.fs.pipe_file(full, data)


def create_exclusively(store: Store, path: str, data: bytes) -> bool:
    """Create a small file of the store; return False where it exists already."""
    full = f"{store.root}/{path}"
    with translate_os_errors(store):
        store.fs.makedirs(full.rpartition("/")[0], exist_ok=True)
        return (_create_locally if store.is_local else _create_remotely)(store, full, data)


def _create_locally(store: Store, full: str, data: bytes) -> bool:
    """Create by a link to a file that is whole."""
    del store
    with _write_aside(full, data) as partial:
        try:
            os.link(partial, full)
        except FileExistsError:
            return False
    return True


@contextmanager
def _write_aside(full: str, data: bytes) -> Iterator[Path]:
    """Write a file beside the place that it is for, and delete it at the end.

    Raises:
        StoreError: the disk refuses it; here nothing else is read or written.
    """
    partial = Path(f"{full}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(data)
        yield partial
    except OSError as error:
        raise StoreError.from_os(error, where=full) from error
    finally:
        partial.unlink(missing_ok=True)


def _create_remotely(store: Store, full: str, data: bytes) -> bool:
    """Create by the filesystem's own exclusive mode (on S3 a conditional put)."""
    try:
        store.fs.pipe_file(full, data, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        if "PreconditionFailed" in str(error) or "pre-condition" in str(error).lower():
            return False
        raise
    return True


def delete_dead_staging(store: Store) -> None:
    """Delete the staging folders of this machine's processes that do not run any more."""
    parent = _find_staging_parent(store)
    for folder in parent.iterdir() if parent.is_dir() else ():
        owner = ProcessIdentity.parse(folder.name)
        if owner is not None and owner.has_ended():
            shutil.rmtree(folder, ignore_errors=True)


def _find_staging_parent(store: Store) -> Path:
    """Return the folder of the staging folders, which is on this machine."""
    return (Path(store.root) if store.is_local else store.cache_dir) / ".staging"


@contextmanager
def open_staging_dir(store: Store) -> Iterator[Path]:
    """Open an empty folder inside a local store, or in the cache; it is deleted at the end.

    Its name says which process uses it, so that what killed ones have left can be deleted.
    """
    parent = _find_staging_parent(store)
    delete_dead_staging(store)
    try:
        folder = parent / f"{identify_process()}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
    except OSError as error:
        raise StoreError.from_os(error, where=str(parent)) from error
    try:
        with translate_disk_errors(str(parent)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def translate_os_errors(store: Store) -> Iterator[None]:
    """Raise errors about space, limits and permissions, and of a failed disk, as the store's.

    What reads a source tells of its errors itself.

    Raises:
        StoreError: there is no space or no permission, a limit is reached, or the disk fails.
    """
    try:
        with translate_disk_errors(store.root, is_store=True):
            yield
    except PermissionError as error:
        raise StoreError.from_os(error, where=store.root) from error
