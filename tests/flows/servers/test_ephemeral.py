"""A command's own Prefect server, and the heartbeats of the flows that it runs."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.servers import ephemeral
from flows.servers.ports import find_free_port, is_responding
from flows.servers.prefect_api import start_connecting
from tasks.errors import PrefectDownError
from tests.support.sample_jobs import WAVES, make_waves, run_ostinato, wait_until, write_job

COMMAND = """
import os, sys, time
from flows.environment import configure_environment
configure_environment()
from flows.servers.ephemeral import start_server
start_server()()
print(os.environ["PREFECT_API_URL"], flush=True)
{then}
"""


def start_command(folder: Path, then: str) -> "subprocess.Popen[str]":
    """Start a process that waits for its own server, prints its address, and runs further code."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(then=then)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
    )


def is_up(address: str) -> bool:
    return is_responding(f"{address}/health")


def has_ended(address: str, *, timeout_seconds: float) -> bool:
    """Wait until the server does not respond, and return whether that is so."""
    deadline = time.monotonic() + timeout_seconds
    while is_up(address) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not is_up(address)


def test_a_server_ends_with_its_command_in_any_way(tmp_path: Path) -> None:
    with start_command(tmp_path, "time.sleep(600)") as killed:
        assert killed.stdout is not None
        address = killed.stdout.readline().strip()
        was_up = wait_until(lambda: is_up(address), 60)
        os.kill(killed.pid, signal.SIGKILL)
        ended = has_ended(address, timeout_seconds=30)
    with start_command(tmp_path, "sys.exit(3)") as done:
        assert done.stdout is not None
        other = done.stdout.readline().strip()

    assert was_up
    assert ended
    assert done.returncode == 3
    assert has_ended(other, timeout_seconds=0)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("prefect.toml", "[api]\n"),
        ("pyproject.toml", "[tool.prefect.api]\nurl = 'http://elsewhere/api'\n"),
        (".env", "PREFECT_API_URL=http://elsewhere/api\n"),
        ("home/profiles.toml", "[profiles.ours]\nPREFECT_API_URL = 'http://elsewhere/api'\n"),
    ],
)
def test_a_server_from_a_profile_is_left_to_prefect(
    where: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"):
        monkeypatch.delenv(name, raising=False)
    before = ephemeral.is_server_configured()
    (tmp_path / "home").mkdir()

    (tmp_path / where).write_text(text)

    assert not before
    assert ephemeral.is_server_configured()


def test_a_configured_server_that_is_away_is_told_within_seconds(tmp_path: Path) -> None:
    write_job(tmp_path, WAVES)
    make_waves(50).write_parquet(tmp_path / "waves.parquet")
    address = f"http://user:secret@127.0.0.1:{find_free_port()}/api"

    done = run_ostinato(tmp_path, "run", "waves.yaml", "--json", PREFECT_API_URL=address)

    assert done.returncode == 11
    assert "does not answer" in done.stderr
    assert "PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert not (tmp_path / ".ostinato" / "store").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/api", "http://no.such.host.invalid/"])
def test_a_server_that_takes_no_connection_is_known_before_the_imports_are_done(
    address: str,
) -> None:
    address, start_time = address.format(port=find_free_port()), time.monotonic()

    require_connection = start_connecting(address)
    began_after = time.monotonic() - start_time
    with pytest.raises(PrefectDownError, match="does not answer"):
        require_connection()

    assert began_after < 1, "the command goes on meanwhile"
    assert time.monotonic() - start_time < 9


def test_a_server_that_starts_a_little_later_is_waited_for() -> None:
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        require_connection = start_connecting(f"http://127.0.0.1:{later.getsockname()[1]}/api")
        time.sleep(0.5)
        later.listen()

        require_connection()
