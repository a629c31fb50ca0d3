"""Two processes never train one model, and a dead process does not block a living one."""

import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from tasks.errors import LeaseHeldError
from tasks.storage.lease import STALE_SECONDS, hold_lease
from tasks.storage.store import Store, write_bytes

pytestmark = [
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def encode_lease(host: str, pid: int, at: float) -> bytes:
    return json.dumps({"host": host, "pid": pid, "at": at}).encode()


def test_a_lease_is_exclusive_until_it_is_released(store: Store) -> None:
    refusing = pytest.raises(LeaseHeldError, match="another trainer uses")

    with hold_lease(store, "checkpoints/k"), refusing as refusal:
        hold_lease(store, "checkpoints/k").__enter__()

    assert refusal.value.transient
    with hold_lease(store, "checkpoints/k"):
        pass


def test_a_lease_is_released_if_its_holder_fails(local_store: Store) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(local_store, "checkpoints/k"):
        _ = 1 / 0

    with hold_lease(local_store, "checkpoints/k"):
        pass


def test_the_lease_of_a_dead_process_is_taken_at_once(local_store: Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lease = encode_lease(socket.gethostname(), dead.pid, time.time())
    write_bytes(local_store, "checkpoints/k/lease-000001.json", lease)

    with hold_lease(local_store, "checkpoints/k"):
        assert local_store.fs.exists(f"{local_store.root}/checkpoints/k/lease-000002.json")


@pytest.mark.parametrize(("age", "free"), [(STALE_SECONDS + 5, True), (5.0, False)])
def test_the_lease_of_another_machine_is_valid_until_it_is_stale(
    store: Store, age: float, free: bool
) -> None:
    lease = encode_lease("another-machine", 1, time.time() - age)
    write_bytes(store, "checkpoints/k/lease-000001.json", lease)

    if free:
        with hold_lease(store, "checkpoints/k"):
            pass
    else:
        with pytest.raises(LeaseHeldError, match="another-machine"):
            hold_lease(store, "checkpoints/k").__enter__()


def test_one_of_two_concurrent_processes_gets_the_lease(store: Store) -> None:
    barrier, acquired, refused = threading.Barrier(2), [], []
    refusal_seen = threading.Event()

    def acquire() -> None:
        barrier.wait()
        try:
            with hold_lease(store, "checkpoints/k"):
                acquired.append(time.monotonic())
                refusal_seen.wait(30)
        except LeaseHeldError:
            refused.append(time.monotonic())
            refusal_seen.set()

    threads = [threading.Thread(target=acquire) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(acquired), len(refused)) == (1, 1)
