"""One trainer for one model: a lease beside its checkpoints.

Each holder creates the next numbered file exclusively, so a takeover is one atomic step on every
filesystem and the highest number is the holder. A lease is free again when its holder released
it, when its process is gone from this machine, or when it was not renewed for a while.
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

RENEW_SECONDS = 15.0
STALE_SECONDS = 90.0


@contextmanager
def hold_lease(store: Store, folder: str, *, holder: str = "trainer") -> Iterator[None]:
    """Hold the lease on `folder` of the store; `holder` is what a refusal calls its owner.

    Raises:
        LeaseHeldError: another one is at work there.
    """
    number = _find_latest(store, folder)
    _check_not_held(store, folder, number, holder=holder)
    mine = f"{folder}/lease-{number + 1:06}.json"
    if not create_exclusively(store, mine, _format_holder()):
        raise _build_error(folder, f"another {holder} took it in this moment", holder)
    released = threading.Event()
    renewer = threading.Thread(target=_renew, args=(store, mine, released), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        released.set()
        renewer.join()
        write_bytes(store, mine, b'{"released": true}')


def _renew(store: Store, path: str, released: threading.Event) -> None:
    """Write the lease's time again and again until it is released."""
    while not released.wait(RENEW_SECONDS):
        write_bytes(store, path, _format_holder())


def _format_holder() -> bytes:
    """Return who holds the lease, and when this was true."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
    return json.dumps(holder).encode()


def _find_latest(store: Store, folder: str) -> int:
    """Find the highest lease number; 0 when there was none yet."""
    store.fs.invalidate_cache()
    paths = store.fs.glob(f"{store.root}/{folder}/lease-*.json")
    return max((int(path.rpartition("-")[2].removesuffix(".json")) for path in paths), default=0)


def _check_not_held(store: Store, folder: str, number: int, *, holder: str) -> None:
    """Refuse while the last holder is alive."""
    data = read_bytes(store, f"{folder}/lease-{number:06}.json") if number else None
    if data is None:
        return
    found = json.loads(data)
    if found.get("released") or time.time() - found["at"] > STALE_SECONDS:
        return
    if found["host"] == socket.gethostname() and not _is_running(found["pid"]):
        return
    raise _build_error(folder, f"process {found['pid']} on {found['host']} holds it", holder)


def _is_running(pid: int) -> bool:
    """Return whether a process of this machine is running; this one counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _build_error(folder: str, why: str, holder: str) -> LeaseHeldError:
    """Build the refusal."""
    return LeaseHeldError.of(
        f"another {holder} is at work on {folder}: {why}",
        hint=f"wait for it; a dead {holder}'s lease ends by itself after {STALE_SECONDS:.0f} s",
    )
