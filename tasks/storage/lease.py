"""Leases: at most one process at a time trains a model, or moves the aliases of one.

Each holder creates the next numbered file exclusively, so a takeover is one atomic step on every
filesystem, and the highest number is the holder. It renews its file by a counter. A lease is free
again when its holder has released it, when its process no longer runs, or when its file was not
renewed for a while by the clock of the one who waits: clocks of two machines are never compared. A
holder that was paused so long that another took over is told so before it writes again (a fencing
token, as in Kleppmann 2016, "How to do distributed locking").
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tasks.errors import LeaseHeldError
from tasks.storage.process_identity import ProcessIdentity, identify_machine, identify_process
from tasks.storage.store import Store, create_exclusively, read_bytes, write_bytes
from tasks.task_options import logger

RENEW_SECONDS = 15.0
STALE_SECONDS = 90.0
_LOST_SECONDS = 60.0
"""Seconds without a renewal after which a holder counts its own lease as lost: before others do."""
_WAIT_PAUSE_SECONDS = 0.2
_RETRY_SECONDS = 1.0
_WATCH_SECONDS = 1.0


@dataclass(slots=True)
class Lease:
    """A lease that this process holds."""

    store: Store
    folder: str
    number: int
    holder: str
    renewed: int = 0
    renewed_at: float = field(default_factory=time.monotonic)
    lost: str | None = None
    """Why this process holds it no longer."""

    @property
    def path(self) -> str:
        """The lease's file."""
        return _format_path(self.folder, self.number)

    def check(self) -> None:
        """Check that the lease is still held, before something is written under it.

        Raises:
            LeaseHeldError: it was lost.
        """
        if self.lost is None and time.monotonic() - self.renewed_at > _LOST_SECONDS:
            self.lost = f"it was not renewed for {_LOST_SECONDS:.0f} s"
        if self.lost is None and _find_latest(self.store, self.folder) != self.number:
            self.lost = "another process took it over"
        if self.lost:
            raise LeaseHeldError.of(
                f"this {self.holder} has lost {self.folder}: {self.lost}",
                hint="nothing is wrong with its data; run again",
            )

    def renew(self) -> None:
        """Renew the lease.

        Raises:
            LeaseHeldError: it was lost.
        """
        self.check()
        self.renewed += 1
        write_bytes(self.store, self.path, _format_holder(self.renewed))
        self.renewed_at = time.monotonic()


@contextmanager
def hold_lease(store: Store, folder: str, *, holder: str = "trainer") -> Iterator[Lease]:
    """Hold the lease on a folder of the store.

    Where its holder may run on another machine, this waits until it is renewed, or stale.

    Args:
        store: that the folder is in.
        folder: relative to the store.
        holder: what error messages call the process that holds it.

    Raises:
        LeaseHeldError: another process holds it.
    """
    latest = _find_latest(store, folder)
    _check_not_held(store, folder, latest, holder=holder)
    lease = Lease(store, folder, latest + 1, holder)
    if not create_exclusively(store, lease.path, _format_holder(0)):
        raise _build_error(folder, f"another {holder} took it at the same time", holder)
    released = threading.Event()
    renewer = threading.Thread(target=_renew, args=(lease, released), daemon=True)
    renewer.start()
    try:
        yield lease
    finally:
        released.set()
        renewer.join()
        if lease.lost is None:
            write_bytes(store, lease.path, b'{"released": true}')


@contextmanager
def wait_for_lease(store: Store, folder: str, *, holder: str, seconds: float) -> Iterator[None]:
    """Hold the lease on a folder of the store; wait while another process holds it.

    Args:
        store: that the folder is in.
        folder: relative to the store.
        holder: what error messages call the process that holds it.
        seconds: to wait at most.

    Raises:
        LeaseHeldError: the other process holds it for longer.
    """
    deadline = time.monotonic() + seconds
    with ExitStack() as held:
        while True:
            lease = hold_lease(store, folder, holder=holder)
            if _enter(held, lease, may_wait=time.monotonic() <= deadline):
                break
            time.sleep(_WAIT_PAUSE_SECONDS)
        yield


def _enter(held: ExitStack, lease: AbstractContextManager[Lease], *, may_wait: bool) -> bool:
    """Take a lease until the stack ends; return False where another process holds it."""
    try:
        held.enter_context(lease)
    except LeaseHeldError:
        if not may_wait:
            raise
        return False
    return True


def _renew(lease: Lease, released: threading.Event) -> None:
    """Renew the lease until it is released or lost; errors of the store may pass."""
    pause = RENEW_SECONDS
    while not released.wait(pause):
        try:
            lease.renew()
            pause = RENEW_SECONDS
        except LeaseHeldError as error:
            logger().warning("%s", error)
            return
        except Exception as error:  # noqa: BLE001 - whatever the filesystem raises
            logger().warning("the lease %s could not be renewed yet: %s", lease.path, error)
            pause = _RETRY_SECONDS


def _format_holder(renewed: int) -> bytes:
    """Return the content of a lease's file: its process, and how often it was renewed."""
    holder = {
        "host": socket.gethostname(),
        **identify_process()._asdict(),
        "renewed": renewed,
    }
    return json.dumps(holder).encode()


def _format_path(folder: str, number: int) -> str:
    """Return the path of a lease's file."""
    return f"{folder}/lease-{number:06}.json"


def _find_latest(store: Store, folder: str) -> int:
    """Find the highest lease number; 0 where there is none."""
    store.fs.invalidate_cache()
    paths = store.fs.glob(f"{store.root}/{folder}/lease-*.json")
    names = (path.rpartition("-")[2].removesuffix(".json") for path in paths)
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _check_not_held(store: Store, folder: str, number: int, *, holder: str) -> None:
    """Check that the last holder has released the lease, or no longer runs.

    Raises:
        LeaseHeldError: it holds the lease.
    """
    path = _format_path(folder, number)
    data = read_bytes(store, path) if number else None
    lease = _parse_holder(data)
    if data is None or lease.get("released"):
        return
    error = _build_error(folder, f"process {lease.get('pid')} on {lease.get('host')}", holder)
    if lease.get("machine") == identify_machine():
        if _is_running(lease):
            raise error
        return
    if "machine" not in lease or "pid" not in lease:
        logger().warning(
            "%s/%s is damaged: it names no process, and is ignored if none renews it within %.0f s",
            store.root,
            path,
            STALE_SECONDS,
        )
    deadline = time.monotonic() + STALE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_WATCH_SECONDS)
        if read_bytes(store, path) != data:
            raise error


def _parse_holder(data: bytes | None) -> dict[str, Any]:
    """Parse a lease's file; a damaged one names no process."""
    try:
        lease = json.loads(data or b"{}")
    except ValueError:
        return {}
    return lease if isinstance(lease, dict) else {}


def _is_running(lease: dict[str, Any]) -> bool:
    """Return whether the process that took a lease on this machine runs."""
    try:
        owner = ProcessIdentity(str(lease["machine"]), int(lease["pid"]), int(lease["started"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return not owner.has_ended()


def _build_error(folder: str, reason: str, holder: str) -> LeaseHeldError:
    """Build the error for a lease that is held."""
    return LeaseHeldError.of(
        f"another {holder} uses {folder}: {reason}",
        hint=f"wait for it; the lease of a killed {holder} ends after {STALE_SECONDS:.0f} s",
    )
