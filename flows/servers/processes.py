"""Child processes of a command: started, waited for, watched, and stopped with it.

Each child leads a process group of its own, so that a Ctrl-C in the terminal reaches the command
alone, which then stops its children in order.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from flows.servers.ports import is_responding
from tasks.errors import PagesError, StoreError

_START_TIMEOUT_SECONDS = 180.0
"""Time that a server may take to start: on a busy machine, with a fresh database."""

_POLL_SECONDS = 0.05
_PARENT_POLL_SECONDS = 1.0
"""Seconds between two checks that the parent still lives."""

_LOG_TAIL_LINES = 5


class Child(NamedTuple):
    """A running child process."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path | None
    """File with its output; None where it writes to the output of the command."""

    def describe_end(self) -> str | None:
        """Return how the process ended; None while it runs."""
        code = self.process.poll()
        return None if code is None else f"{self.name} ended with code {code}"

    def read_log_tail(self) -> str | None:
        """Return the last lines of the log, where there is one."""
        if self.log is None:
            return None
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])


def start_child(
    name: str, arguments: Sequence[str], variables: Mapping[str, str], *, log: Path | None = None
) -> Child:
    """Start `python -m ARGUMENTS...` with further environment variables.

    Args:
        name: the child's name in messages.
        arguments: module and its arguments.
        variables: environment variables that replace those of this process.
        log: file for its output; None leaves the output of this process.
    """
    with log.open("wb") if log else nullcontext() as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-m", *arguments],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
        )
    return Child(name, process, log)


def exit_on_store_error(prepare: Callable[[], None]) -> None:
    """Prepare a child; where the store cannot be written, print why, and end as commands do."""
    try:
        prepare()
    except StoreError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.exit_code)


def wait_until_responding(url: str, children: Sequence[Child]) -> None:
    """Wait until a server responds.

    Raises:
        StoreError: a child could not write its database.
        PagesError: it did not respond in time, or one of the children ended.
    """
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if ended := find_ended(children):
            is_full = ended.process.returncode == StoreError.exit_code
            raise (StoreError if is_full else PagesError).of(
                f"{ended.describe_end()} while it started",
                found=ended.read_log_tail(),
                hint=f"see {ended.log}" if ended.log else "see its output above",
            )
        if is_responding(url):
            return
        time.sleep(_POLL_SECONDS)
    raise PagesError.of(
        f"{url} did not respond within {_START_TIMEOUT_SECONDS:.0f} s",
        hint="see the logs, or the output above",
    )


def find_ended(children: Sequence[Child]) -> Child | None:
    """Return the first child that has ended; None while all run."""
    return next((child for child in children if child.process.poll() is not None), None)


def stop_children(children: Sequence[Child], *, timeout_seconds: float) -> None:
    """Stop every child with its own children, the last started first.

    Each gets SIGTERM, and SIGKILL once the timeout has passed.
    """
    for child in reversed(children):
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout_seconds)
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def end_with_parent(parent_pid: int) -> None:
    """Terminate this process as soon as its parent has ended, in whatever way."""

    def poll() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_PARENT_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=poll, name="parent-watch", daemon=True).start()
