"""A process that has imported the product, and forks for every command: imports take seconds.

    python -m tests.faults.endure.command_server

A forked child is a command as its user runs it: its own process, its own output, exit code and
memory, the same entry point. Requests and replies are lines of JSON on stdin and stdout.
"""

import atexit
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.faults.endure.case import MAX_SECONDS, Ended
from tests.faults.endure.shim import configure_shim
from tests.support.sample_jobs import build_environment

ROOT = Path(__file__).parents[3]

ADDRESS_SPACE = 6 << 30
"""Bytes of address space that a command may add to what the imports take: an allocation that no
machine has fails at once, whereas resident memory is judged at the end."""

_IMPORTS = (
    "flows.cli.main", "flows.commands.check", "flows.commands.init", "flows.job.job",
    "flows.retrain", "flows.results.outcome", "flows.runtime.run_context",
    "flows.results.alias_history", "great_expectations", "mlflow", "mlflow.pyfunc", "torch",
    "polars", "pyarrow.parquet", "PIL.Image", "soundfile", "soxr", "scipy.signal",
    "scipy.stats", "sklearn.linear_model", "matplotlib.pyplot", "matplotlib.figure", "altair",
)  # fmt: skip


class CommandServer:
    """Runs commands in forks of a process that has imported the product."""

    def __init__(self, home: Path, **variables: str) -> None:
        """Start the process.

        Args:
            home: folder of Prefect's files of all commands.
            variables: environment variables of all commands.
        """
        home.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in build_environment().items() if k != "RUST_BACKTRACE"} | {
            "PYTHONPATH": str(ROOT),
            "PREFECT_HOME": str(home / "prefect"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            # The children of a process that has used no thread of Polars yet are safe.
            "POLARS_ALLOW_FORKING_THREAD": "1",
            **variables,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.endure.command_server"],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        folder: Path,
        *arguments: str,
        seconds: float = MAX_SECONDS,
        kill_after: float | None = None,
        **variables: str,
    ) -> Ended:
        """Run `ostinato ARGUMENTS...` in a folder.

        Args:
            folder: working folder; stdout and stderr are written beside it.
            arguments: of the command line.
            seconds: after which the command is killed, as one that hangs.
            kill_after: seconds after which the command is killed, as by the system.
            variables: further environment variables.
        """
        request = {
            "folder": str(folder.absolute()),
            "arguments": arguments,
            "seconds": seconds,
            "kill_after": kill_after,
            "variables": variables,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        return Ended(**reply)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Answer requests until stdin is closed."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in _IMPORTS:
        importlib.import_module(name)
    for line in sys.stdin:
        reply = _run(json.loads(line))
        replies.write(json.dumps(reply._asdict()) + "\n")
        replies.flush()


def _run(request: dict[str, Any]) -> Ended:
    """Run one command in a fork, and wait for it."""
    folder = Path(request["folder"])
    paths = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    start_time = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _become_command(request, paths)
    limit = min(request["kill_after"] or request["seconds"], request["seconds"])
    status, usage = _wait(pid, limit)
    output, errors = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        output=output,
        errors=errors,
        seconds=time.perf_counter() - start_time,
        memory=usage.ru_maxrss * 1024,
        timed_out=time.perf_counter() - start_time >= request["seconds"],
    )


def _wait(pid: int, seconds: float) -> tuple[int, resource.struct_rusage]:
    """Wait for a child, which is killed with all its processes once the time has passed."""
    descriptor = os.pidfd_open(pid)
    ready, _, _ = select.select([descriptor], [], [], seconds)
    os.close(descriptor)
    if not ready:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group of its own yet
            os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status, usage


def _become_command(request: dict[str, Any], paths: list[Path]) -> None:
    """Turn this fork into the command, and end with its exit code."""
    os.setsid()
    for descriptor, path in zip((1, 2), paths, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.update(request["variables"])
    configure_shim()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.argv = ["ostinato", *request["arguments"]]
    code = 1
    try:
        sys.modules["flows.cli.main"].main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end of a command
        traceback.print_exc()
    finally:
        _finish(code)


def _finish(code: int) -> None:
    """End as the interpreter does: exit handlers, then the buffers."""
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit runs none
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
