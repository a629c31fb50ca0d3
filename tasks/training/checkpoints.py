"""Checkpoints of a training in the store, and the lease of the process that writes them.

The last two are kept, each with its SHA-256: where the newest is damaged, the one before is resumed
from, and without that the training begins again, which gives the same weights.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from models.learning.loop import CheckpointStore
from tasks.storage.lease import hold_lease
from tasks.storage.store import Store, read_bytes, write_bytes
from tasks.task_options import logger

_DIGEST_BYTES = hashlib.sha256().digest_size


@contextmanager
def hold_checkpoints(store: Store, key: str) -> Iterator[CheckpointStore]:
    """Hold the checkpoints of a training under a lease, and delete them when it has finished.

    Raises:
        LeaseHeldError: another process is running this training, or has taken it over.
    """
    folder = f"checkpoints/{key}"
    newest, previous = _list_paths(key)

    def save(data: bytes) -> None:
        lease.check()
        if store.fs.exists(f"{store.root}/{newest}"):
            store.fs.mv(f"{store.root}/{newest}", f"{store.root}/{previous}")
        write_bytes(store, newest, data + hashlib.sha256(data).digest())

    with hold_lease(store, folder) as lease:
        yield CheckpointStore(load=lambda: read_checkpoint(store, key), save=save)
        lease.check()
    store.fs.rm(f"{store.root}/{folder}", recursive=True)


def read_checkpoint(store: Store, key: str) -> bytes | None:
    """Read the newest checkpoint of a training that is whole; None where there is none."""
    for path in _list_paths(key):
        content = read_bytes(store, path)
        if content is None:
            continue
        if is_whole(content):
            return content[:-_DIGEST_BYTES]
        logger().warning(
            "%s is damaged; training goes on from the checkpoint before it, or begins again", path
        )
    return None


def is_whole(content: bytes) -> bool:
    """Return whether a checkpoint's file is what was written."""
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]


def _list_paths(key: str) -> tuple[str, str]:
    """Return the paths of the newest checkpoint and of the one before."""
    return f"checkpoints/{key}/state.pt", f"checkpoints/{key}/previous.pt"
