"""Leases: at most one process at a time trains a model, or moves the aliases of one.

Each holder creates the next numbered file exclusively, so a takeover is one atomic step on every
filesystem, and the highest number is the holder. A lease is free again when its holder has released
it, when its process no longer runs on this machine, or when it was not renewed for a while.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import LeaseHeldError
from tasks.storage.store import Store, create_exclusively, read_bytes, write_bytes

_RENEW_SECONDS = 15.0
STALE_SECONDS = 90.0


@contextmanager
def hold_lease(store: Store, folder: str, *, holder: str = "trainer") -> Iterator[None]:
    """Hold the lease on a folder of the store.

    Args:
        store: that the folder is in.
        folder: relative to the store.
        holder: what error messages call the process that holds it.

    Raises:
        LeaseHeldError: another process holds it.
    """
    number = _find_latest(store, folder)
    _check_not_held(store, folder, number, holder=holder)
    path = f"{folder}/lease-{number + 1:06}.json"
    if not create_exclusively(store, path, _format_holder()):
        raise _build_error(folder, f"another {holder} took it at the same time", holder)
    released = threading.Event()
    renewer = threading.Thread(target=_renew, args=(store, path, released), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        released.set()
        renewer.join()
        write_bytes(store, path, b'{"released": true}')


def _renew(store: Store, path: str, released: threading.Event) -> None:
    """Renew the lease until it is released."""
    while not released.wait(_RENEW_SECONDS):
        write_bytes(store, path, _format_holder())


def _format_holder() -> bytes:
    """Return the content of a lease's file: its process, and the time of its renewal."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
    return json.dumps(holder).encode()


def _find_latest(store: Store, folder: str) -> int:
    """Find the highest lease number; 0 where there is none."""
    store.fs.invalidate_cache()
    paths = store.fs.glob(f"{store.root}/{folder}/lease-*.json")
    return max((int(path.rpartition("-")[2].removesuffix(".json")) for path in paths), default=0)


def _check_not_held(store: Store, folder: str, number: int, *, holder: str) -> None:
    """Check that the last holder has released the lease, or no longer runs.

    Raises:
        LeaseHeldError: it holds the lease.
    """
    data = read_bytes(store, f"{folder}/lease-{number:06}.json") if number else None
    if data is None:
        return
    lease = json.loads(data)
    if lease.get("released") or time.time() - lease["at"] > STALE_SECONDS:
        return
    if lease["host"] == socket.gethostname() and not _is_running(lease["pid"]):
        return
    raise _build_error(folder, f"process {lease['pid']} on {lease['host']} holds it", holder)


def _is_running(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _build_error(folder: str, reason: str, holder: str) -> LeaseHeldError:
    """Build the error for a lease that is held."""
    return LeaseHeldError.of(
        f"another {holder} uses {folder}: {reason}",
        hint=f"wait for it; the lease of a killed {holder} ends after {STALE_SECONDS:.0f} s",
    )
