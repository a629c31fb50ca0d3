"""Errors of the disk, in the words of each library: no space, a quota, a limit, no write access."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import OstinatoError, StoreError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What only a write meets, so that it never speaks of a source."""

_WRITING = re.compile(r"\bwrit(?:e|ing)\b", re.IGNORECASE)
"""By which a library says that a failed disk (EIO) was written to, and not read."""

_ERROR_NUMBER = re.compile(r"(?:\(os error |\[[Ee]rrno )(\d+)")
"""How Polars and PyArrow tell the number of the operating system's error."""

_SQLITE_ERRORS = re.compile(
    r"disk I/O error|database or disk is full|attempt to write a readonly database"
)


def build_disk_error(
    error: BaseException, *, where: str, is_store: bool = False
) -> StoreError | None:
    """Build the error of the store that an error or one of its causes means; None for others.

    Args:
        error: of any library; one of ours has said already what it means.
        where: what was written.
        is_store: only the store was read and written, so that a failed disk (EIO) is its own.
    """
    for each in _walk_causes(error):
        if isinstance(each, OstinatoError):
            return None
        number = _find_number(each, is_store=is_store)
        if number is not None:
            return StoreError.from_os(OSError(number, os.strerror(number)), where=where)
        if reason := _SQLITE_ERRORS.search(str(each)):
            return StoreError.of(
                f"the store cannot write to {where}: {reason[0]}",
                found="Nothing was published; what was finished before stays.",
                hint="free some space (`ostinato prune` shows what can go), give this user the "
                "right to write there, or raise the limit of file sizes (`ulimit -f`); then run "
                "again",
            )
    return None


@contextmanager
def translate_disk_errors(where: str, *, is_store: bool = False) -> Iterator[None]:
    """Raise errors of the disk as errors of the store.

    Args:
        where: what is written.
        is_store: nothing else is read or written; a source's errors are told of by what reads it.

    Raises:
        StoreError: `where` could not be written.
    """
    try:
        yield
    except Exception as error:
        if found := build_disk_error(error, where=where, is_store=is_store):
            raise found from error
        raise


def _walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _find_number(error: BaseException, *, is_store: bool) -> int | None:
    """Return the number of an error of the disk; None for another error."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _ERROR_NUMBER.search(str(error))):
        number = int(match[1])
    failed = number == errno.EIO and (is_store or _WRITING.search(str(error)) is not None)
    return number if number in _DISK_ERRORS or failed else None
