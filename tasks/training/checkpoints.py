"""Checkpoints of a training in the store, and the lease of the process that writes them."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.learning.loop import CheckpointStore
from tasks.storage.lease import hold_lease
from tasks.storage.store import Store, read_bytes, write_bytes


@contextmanager
def hold_checkpoints(store: Store, key: str) -> Iterator[CheckpointStore]:
    """Hold the checkpoints of a training under a lease, and delete them when it has finished.

    They are in one file, which is replaced atomically.

    Raises:
        LeaseHeldError: another process is running this training.
    """
    folder = f"checkpoints/{key}"
    path = f"{folder}/state.pt"
    with hold_lease(store, folder):
        yield CheckpointStore(
            load=lambda: read_bytes(store, path), save=lambda data: write_bytes(store, path, data)
        )
    store.fs.rm(f"{store.root}/{folder}", recursive=True)
