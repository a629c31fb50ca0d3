"""Two processes never train one model, and a dead process does not block a living one."""

import json
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tasks.errors import LeaseHeldError
from tasks.storage import lease as lease_module
from tasks.storage.lease import hold_lease
from tasks.storage.store import Store, read_bytes, write_bytes

pytestmark = [
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


PATH = "checkpoints/k/lease-{:06}.json"


def encode_lease(**changes: object) -> bytes:
    """Encode the lease of a process of another machine."""
    lease = {"host": "far", "machine": "far/1", "pid": 1, "started": 1.0, "renewed": 0}
    return json.dumps(lease | changes).encode()


def read_own_lease(store: Store) -> dict[str, Any]:
    """Read the lease that this process writes."""
    with hold_lease(store, "own"):
        return json.loads(store.fs.cat_file(f"{store.root}/own/lease-000001.json"))


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
    lease = read_own_lease(local_store) | {"pid": dead.pid}
    write_bytes(local_store, PATH.format(1), encode_lease(**lease))

    with hold_lease(local_store, "checkpoints/k"):
        assert local_store.fs.exists(f"{local_store.root}/checkpoints/k/lease-000002.json")


def test_a_process_that_has_the_number_of_a_dead_one_does_not_hold_its_lease(
    local_store: Store,
) -> None:
    lease = read_own_lease(local_store)
    write_bytes(
        local_store, PATH.format(1), encode_lease(**lease | {"started": lease["started"] - 60})
    )

    with hold_lease(local_store, "checkpoints/k"):
        pass


@pytest.mark.parametrize(
    "content",
    [
        encode_lease(),
        b"",
        b"{",
        b"[1]",
        b"{}",
        b"\xff\xfe",
        encode_lease(host=socket.gethostname()),
    ],
    ids=["machine", "empty", "cut", "a list", "no keys", "no text", "container of this name"],
)
def test_a_lease_that_nobody_renews_is_stale_by_the_clock_of_the_one_who_waits(
    content: bytes, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "STALE_SECONDS", 0.3)
    monkeypatch.setattr(lease_module, "_WATCH_SECONDS", 0.05)
    write_bytes(local_store, PATH.format(1), content)

    with hold_lease(local_store, "checkpoints/k"):
        assert local_store.fs.exists(f"{local_store.root}/checkpoints/k/lease-000002.json")


def test_a_lease_of_another_machine_that_is_renewed_is_held(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "_WATCH_SECONDS", 0.05)
    write_bytes(local_store, PATH.format(1), encode_lease())
    renewal = threading.Timer(
        0.2, write_bytes, (local_store, PATH.format(1), encode_lease(renewed=1))
    )
    renewal.start()

    with pytest.raises(LeaseHeldError, match="process 1 on far"):
        hold_lease(local_store, "checkpoints/k").__enter__()
    renewal.join()


def test_a_holder_that_was_overtaken_is_told_before_it_writes(local_store: Store) -> None:
    with hold_lease(local_store, "checkpoints/k") as lease:
        lease.check()
        write_bytes(local_store, PATH.format(2), encode_lease())

        with pytest.raises(LeaseHeldError, match="another process took it over"):
            lease.check()

    assert b"released" not in local_store.fs.cat_file(f"{local_store.root}/{PATH.format(1)}")


def test_errors_of_the_store_do_not_end_the_renewing(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(lease_module, "_RETRY_SECONDS", 0.02)
    original, failures = lease_module.write_bytes, [OSError("away"), RuntimeError("odd")]

    def fail_twice(store: Store, path: str, data: bytes) -> None:
        if failures:
            raise failures.pop()
        original(store, path, data)

    monkeypatch.setattr(lease_module, "write_bytes", fail_twice)
    with hold_lease(local_store, "checkpoints/k") as lease:
        deadline = time.monotonic() + 30
        while json.loads(read_bytes(local_store, lease.path) or b"{}").get("renewed", 0) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lease.check()

    assert not failures


def test_a_holder_that_cannot_renew_counts_its_lease_as_lost(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold_lease(local_store, "checkpoints/k") as lease:
        monkeypatch.setattr(lease_module, "_LOST_SECONDS", 0.0)
        time.sleep(0.01)

        with pytest.raises(LeaseHeldError, match="it was not renewed"):
            lease.check()


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


def test_a_lease_without_a_process_is_told(
    local_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease_module, "STALE_SECONDS", 0.1)
    monkeypatch.setattr(lease_module, "_WATCH_SECONDS", 0.05)
    write_bytes(local_store, PATH.format(1), b"{}")

    with hold_lease(local_store, "checkpoints/k"):
        assert "lease-000001.json is damaged: it names no process" in caplog.text


@pytest.mark.parametrize("changes", [{"pid": 10**30}, {"pid": "x"}, {"pid": None}, {"started": []}])
def test_a_lease_of_this_machine_with_a_damaged_process_is_taken(
    changes: dict[str, object], local_store: Store
) -> None:
    write_bytes(local_store, PATH.format(1), encode_lease(**read_own_lease(local_store) | changes))

    with hold_lease(local_store, "checkpoints/k"):
        pass


def test_files_that_are_no_leases_are_passed_over(local_store: Store) -> None:
    write_bytes(local_store, "checkpoints/k/lease-copy.json", b"{}")

    with hold_lease(local_store, "checkpoints/k") as lease:
        assert lease.number == 1


def test_a_holder_knows_of_its_loss_before_another_takes_over() -> None:
    # A renewal may hang for its interval, and then nobody may have begun to write.
    longest = lease_module._LOST_SECONDS + lease_module.RENEW_SECONDS  # noqa: SLF001 - a constant

    assert longest < lease_module.STALE_SECONDS
    assert 3 * lease_module.RENEW_SECONDS < lease_module._LOST_SECONDS  # noqa: SLF001 - a constant
