"""Content hashes of files outside the store; a file is read again only where it may have changed.

The hashes are remembered in the user's cache folder, each beside the stamp that the file had: its
device, inode, size, and times of modification and change. A file that was written a moment ago is
not remembered, because one more write might leave its stamp as it is (as in Git's index).
"""

import json
import secrets
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from models.networks.native.build import CompilerError, cache_dir
from tasks.storage.integrity import FileStamp, hash_file, read_stamp
from tasks.task_options import logger


def hash_changed_files(paths: Sequence[Path], *, group: str) -> dict[Path, str]:
    """Return the SHA-256 of each file; those whose stamp is remembered are not read.

    Args:
        paths: of local files.
        group: name of what the files belong to; the hashes of a group are remembered together.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    memory = _find_memory(group)
    known = _read_memory(memory)
    hashes: dict[Path, str] = {}
    remembered: dict[str, list[Any]] = {}
    for path in paths:
        name, stamp = str(path.absolute()), read_stamp(path)
        hashes[path] = _find_hash(known.get(name), stamp) or hash_file(path)
        # The stamp is taken before the content, so that no write in between goes unnoticed.
        if stamp.is_settled(time.time_ns()):
            remembered[name] = [*stamp, hashes[path]]
    if memory is not None and remembered != known:
        _write_memory(memory, remembered)
    return hashes


def _find_memory(group: str) -> Path | None:
    """Return the file that remembers a group; None where this user has no safe cache folder."""
    try:
        folder = cache_dir() / "file_hashes"
        folder.mkdir(mode=0o700, exist_ok=True)
    except (CompilerError, OSError) as error:
        logger().debug("hashes of files cannot be remembered: %s", error)
        return None
    return folder / f"{sha256(group.encode()).hexdigest()[:32]}.json"


def _read_memory(memory: Path | None) -> dict[str, Any]:
    """Read what is remembered of a group; nothing where there is no file or it is damaged."""
    try:
        known = json.loads(memory.read_bytes()) if memory is not None else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_memory(memory: Path, remembered: dict[str, list[Any]]) -> None:
    """Remember the hashes of a group; without it the files are read again, which is all."""
    partial = memory.with_suffix(f".{secrets.token_hex(4)}")
    try:
        partial.write_text(json.dumps(remembered), encoding="utf-8")
        partial.replace(memory)
    except OSError as error:
        partial.unlink(missing_ok=True)
        logger().debug("hashes of files cannot be remembered: %s", error)


def _find_hash(entry: Any, stamp: FileStamp) -> str | None:  # noqa: ANN401 - of a file that may be damaged
    """Return the hash of an entry that has this stamp; None where it has another, or none."""
    if not isinstance(entry, list) or entry[:-1] != [*stamp] or not isinstance(entry[-1], str):
        return None
    return entry[-1]
