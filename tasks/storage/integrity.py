"""Integrity of stored files: SHA-256 against what was recorded when they were written.

A file is read once in a process: its stamp (device, inode, size, times of the last write and of the
last change) is kept with its hash, and as long as the stamp is the same, the file is not read
again. A stamp counts only if the file was older than two seconds when it was read: a write within
the resolution of a filesystem's clock might not change it. Stamps are not kept between processes,
because a bit that flips on a disk changes none.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tasks.facts import FileEntry

STABLE_NANOSECONDS = 2 * 10**9
"""Age from which a later write certainly changes a file's times."""


class FileStamp(NamedTuple):
    """What changes with every write to a file."""

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int

    def is_settled(self, now_ns: int) -> bool:
        """Return whether a write after this time certainly changes the stamp."""
        return max(self.written_ns, self.changed_ns) + STABLE_NANOSECONDS < now_ns


_known_hashes: dict[FileStamp, str] = {}
"""SHA-256 of the files that were read in this process."""


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Return size and hash of every file under `folder`, by its relative path."""
    return list_entries(sorted(path for path in folder.rglob("*") if path.is_file()), folder)


def list_entries(paths: Iterable[Path], folder: Path) -> dict[str, FileEntry]:
    """Return size and hash of some files under `folder`, by their relative paths."""
    return {
        path.relative_to(folder).as_posix(): FileEntry(
            bytes=path.stat().st_size, sha256=hash_file(path)
        )
        for path in paths
    }


def find_damaged_file(folder: Path, files: Mapping[str, FileEntry]) -> str | None:
    """Compare files with what was recorded of them.

    Args:
        folder: where they are.
        files: their sizes and hashes, by their path in the folder.

    Returns:
        The path of the first file that is missing or changed, and what is wrong with it; None
        where all are unchanged.

    Raises:
        OSError: a file cannot be read.
    """
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != entry.bytes:
            return f"{path} is damaged: it should hold {entry.bytes} bytes, and has {size}"
        if _hash_once(path) != entry.sha256:
            return f"{path} is damaged: its content is not what was written (SHA-256)"
    return None


def _hash_once(path: Path) -> str:
    """Return a file's SHA-256, which is read only if its stamp is not known."""
    before, now = read_stamp(path), time.time_ns()
    if known := _known_hashes.get(before):
        return known
    digest = hash_file(path)
    if read_stamp(path) == before and before.is_settled(now):
        _known_hashes[before] = digest
    return digest


def read_stamp(path: Path) -> FileStamp:
    """Read a file's stamp."""
    found = path.stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return FileStamp(found.st_dev, found.st_ino, found.st_size, *times)
