"""Processes are identified, so that what dead ones have left is deleted, and of live ones kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tasks.storage import process_identity
from tasks.storage.process_identity import ProcessIdentity, identify_process
from tasks.storage.store import Store, delete_dead_staging, open_staging_dir

STAGE = """
import sys, time
from tasks.storage.process_identity import identify_process
from tasks.storage.store import StoreConfig, open_staging_dir, open_store
with open_staging_dir(open_store(StoreConfig(uri=sys.argv[1]))) as folder:
    (folder / "rows.parquet").write_bytes(b"half")
    print(identify_process(), flush=True)
    time.sleep(600)
"""


def start_staging(store: Store) -> "tuple[subprocess.Popen[str], ProcessIdentity]":
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE, store.root], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    identity = ProcessIdentity.parse(process.stdout.readline().strip())
    assert identity is not None
    return process, identity


def test_staging_folders_of_dead_processes_go_and_those_of_others_stay(local_store: Store) -> None:
    parent = Path(local_store.root) / ".staging"
    living, _ = start_staging(local_store)
    dead, identity = start_staging(local_store)
    foreign = parent / f"{identity._replace(machine='0' * 12)}-00112233"
    foreign.mkdir()

    assert not identity.has_ended()
    dead.send_signal(signal.SIGKILL)
    # Not waited for: such a process is still listed, but runs no more.
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    ended = identity.has_ended()
    before = len(list(parent.iterdir()))
    with open_staging_dir(local_store) as folder:
        left = set(parent.iterdir()) - {folder}
    living.kill()
    living.communicate()
    dead.communicate()
    delete_dead_staging(local_store)

    assert ended
    assert before == 3
    assert len(left) == 2
    assert foreign in left
    assert set(parent.iterdir()) == {foreign}


def test_an_identity_does_not_depend_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify_process()
    # What a clock that jumps changes: the time of the boot, from which psutil counts.
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr("time.time", lambda: 4e9)

    assert identify_process() == before
    assert not before.has_ended()


def test_a_process_with_the_number_of_a_dead_one_is_another() -> None:
    own = identify_process()

    assert own._replace(started=own.started - 1).has_ended()
    assert own._replace(pid=2**22 + 1).has_ended()
    assert ProcessIdentity.parse(f"{own}-1234") == own
    assert ProcessIdentity.parse("4f3c2b1a") is None


def test_systems_without_proc_compare_the_times_of_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_identity, "_STAT", "/nowhere/{}/stat")
    own = identify_process()

    assert own.started == int(1000 * psutil.Process().create_time())
    assert not own.has_ended()
    assert own._replace(pid=2**22 + 1).has_ended()
