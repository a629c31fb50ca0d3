"""SQLite databases of MLflow and Prefect: made aside, and renamed into place when they are whole.

Both make their tables by dozens of migrations, which take seconds and are not one transaction. A
process that was killed meanwhile left a database that neither could open again; two that started
together ran the migrations over each other.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.storage.disk_errors import translate_disk_errors

_PARTIAL_SUFFIX = ".partial"

_COMPANION_SUFFIXES = ("", "-journal", "-wal", "-shm")
"""Of the database itself, and of the files that SQLite keeps beside one that is open."""


def create_database(path: Path, fill: Callable[[Path], None]) -> None:
    """Create a database whole or not at all, unless it exists; by one process at a time.

    Args:
        path: the database's file.
        fill: makes the tables in a new file and closes it.

    Raises:
        StoreError: there is no space for it, or a limit of file sizes is too low.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_folder(path.parent):
        if path.exists():
            return
        partial = path.with_name(f"{path.name}{_PARTIAL_SUFFIX}")
        # Of a process that was killed: the lock shows that it does not run.
        _delete_database(partial)
        try:
            with translate_disk_errors(str(path)):
                fill(partial)
            partial.rename(path)
        finally:
            _delete_database(partial)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, which ends with its process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _delete_database(path: Path) -> None:
    """Delete a database with the files beside it, where they exist."""
    for suffix in _COMPANION_SUFFIXES:
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
