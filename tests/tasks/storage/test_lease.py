"""Two trainers never work on one model, and a dead one never blocks a living one."""

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


def stamp(host: str, pid: int, at: float) -> bytes:
    return json.dumps({"host": host, "pid": pid, "at": at}).encode()


def test_a_held_lease_is_refused_for_now_and_free_after_its_release(store: Store) -> None:
    refusing = pytest.raises(LeaseHeldError, match="another trainer is at work")

    with hold_lease(store, "checkpoints/k"), refusing as refusal:
        hold_lease(store, "checkpoints/k").__enter__()

    assert refusal.value.transient
    with hold_lease(store, "checkpoints/k"):
        pass


def test_a_lease_is_released_when_its_holder_fails(local_store: Store) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(local_store, "checkpoints/k"):
        _ = 1 / 0

    with hold_lease(local_store, "checkpoints/k"):
        pass


def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(local_store: Store) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = stamp(socket.gethostname(), gone.pid, time.time())
    write_bytes(local_store, "checkpoints/k/lease-000001.json", mine)

    with hold_lease(local_store, "checkpoints/k"):
        assert local_store.fs.exists(f"{local_store.root}/checkpoints/k/lease-000002.json")


@pytest.mark.parametrize(("age", "free"), [(STALE_SECONDS + 5, True), (5.0, False)])
def test_the_lease_of_another_machine_counts_until_it_is_stale(
    store: Store, age: float, free: bool
) -> None:
    theirs = stamp("another-machine", 1, time.time() - age)
    write_bytes(store, "checkpoints/k/lease-000001.json", theirs)

    if free:
        with hold_lease(store, "checkpoints/k"):
            pass
    else:
        with pytest.raises(LeaseHeldError, match="another-machine"):
            hold_lease(store, "checkpoints/k").__enter__()


def test_of_two_takers_in_one_moment_one_wins(store: Store) -> None:
    together, inside, refused = threading.Barrier(2), [], []
    over = threading.Event()

    def take() -> None:
        together.wait()
        try:
            with hold_lease(store, "checkpoints/k"):
                inside.append(time.monotonic())
                over.wait(30)
        except LeaseHeldError:
            refused.append(time.monotonic())
            over.set()

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(inside), len(refused)) == (1, 1)
