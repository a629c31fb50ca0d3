"""A process may be killed while it makes a database of MLflow or Prefect for the first time."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

MLFLOW = """
from flows.environment import configure_environment
configure_environment()
from tasks.tracking.mlflow_client import open_experiment
print("experiment", open_experiment("first", None))
"""

PREFECT = """
import sys, time
from flows.environment import configure_environment
configure_environment()
from flows.servers.ephemeral import start_server
start_server()()
print("served")
"""

SETTINGS = {"PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME", "TMPDIR"}


def start(folder: Path, code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in SETTINGS},
    )


def count_tables(path: Path) -> int:
    """Count the tables of a database that another process may be writing; 0 while it is locked."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.01)) as database:
            [(count,)] = database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
            return int(count)
    except sqlite3.DatabaseError:
        return 0


def kill_while_tables_are_made(process: "subprocess.Popen[str]", folder: Path, tables: int) -> None:
    """Kill a process (SIGKILL) as soon as a database below the folder has so many tables."""
    while not any(count_tables(path) >= tables for path in folder.rglob("*.db*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("code", "answer", "tables"),
    [
        pytest.param(MLFLOW, "experiment 1", (3, 12), id="mlflow"),
        pytest.param(PREFECT, "served", (3, 12), id="prefect"),
    ],
)
def test_a_first_start_that_is_killed_leaves_a_folder_that_works(
    code: str, answer: str, tables: tuple[int, ...], tmp_path: Path
) -> None:
    for count in tables:
        kill_while_tables_are_made(start(tmp_path, code), tmp_path, count)

    with start(tmp_path, code) as process:
        out, err = process.communicate()

    assert process.returncode == 0, err
    assert answer in out
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_start_together_make_one_database(tmp_path: Path) -> None:
    processes = [start(tmp_path, MLFLOW) for _ in range(3)]

    results = [process.communicate() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert {out.strip() for out, _ in results} == {"experiment 1"}
