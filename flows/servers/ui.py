"""One machine's pages: the Prefect server, the MLflow server, and a process that serves the jobs.

They start together, on 127.0.0.1 only, and stop together: by Ctrl-C, or when one of them dies.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows.environment import HOME, local_tracking_uri, settle
from flows.servers.ports import START_SECONDS, answers, free_port

if TYPE_CHECKING:
    from flows.job.job import Job

STOP_SECONDS = 10.0

Say = Callable[[str], object]


def serve_pages(jobs: Sequence[Path], *, prefect_port: int, mlflow_port: int, say: Say) -> int:
    """Start all three, wait for an end, stop all three; the exit code comes back."""
    settle(use_pages=False)
    from flows.job.job import load_job
    from tasks.redaction import discreet

    read = [(path, load_job(path)) for path in jobs]
    home = Path(HOME)
    (home / "logs").mkdir(parents=True, exist_ok=True)
    children: dict[str, subprocess.Popen[bytes]] = {}
    for polite in (signal.SIGINT, signal.SIGTERM):
        signal.signal(polite, interrupt)
    try:
        prefect = os.environ.get("PREFECT_API_URL")
        if prefect is None:
            port = free_port(prefect_port)
            prefect = f"http://127.0.0.1:{port}/api"
            server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
            command = ["flows.servers.prefect_server", *server]
            children["prefect"] = start("prefect", command, {"PREFECT_API_URL": prefect})
        mlflow = os.environ["MLFLOW_TRACKING_URI"]
        if not mlflow.startswith("http"):
            port = free_port(mlflow_port)
            mlflow = f"http://127.0.0.1:{port}"
            children["mlflow"] = start("mlflow", mlflow_command(port), {})
        servers = {"PREFECT_API_URL": prefect, "MLFLOW_TRACKING_URI": mlflow}
        wait_for(f"{prefect}/health", children)
        wait_for(f"{mlflow}/health", children)
        if read:
            children["jobs"] = start_jobs(read, servers, alone="prefect" in children)
        note_pages(home, servers)
        say(f"Prefect  {discreet(prefect.removesuffix('/api'))}")
        say(f"MLflow   {discreet(mlflow)}")
        say(f"Jobs     {', '.join(path.stem for path in jobs) or 'none'}")
        say(f"Logs     {home / 'logs'}; stop with Ctrl-C")
        sys.stdout.flush()
        return watch(children, say)
    except KeyboardInterrupt:
        return 130
    finally:
        (home / "pages.json").unlink(missing_ok=True)
        stop_all(children)


def start_jobs(
    read: Sequence[tuple[Path, "Job"]], servers: dict[str, str], *, alone: bool
) -> "subprocess.Popen[bytes]":
    """Serve the jobs, unless they tell a block that there is not.

    Raises:
        JobError: they do.
    """
    if any(job.notify for _, job in read):
        from flows.notifications.blocks import refuse_untold

        refuse_untold(read, servers["PREFECT_API_URL"])
    paths = [str(path) for path, _ in read]
    return start(
        "jobs", ["flows.deployment.serve", *(["--alone"] if alone else []), *paths], servers
    )


def mlflow_command(port: int) -> list[str]:
    """Serve the same database and files that embedded runs use."""
    files = (Path(HOME) / "mlflow" / "artifacts").absolute()
    return [
        "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", local_tracking_uri(), "--no-serve-artifacts",
        "--default-artifact-root", files.as_uri(),
    ]  # fmt: skip


def start(name: str, module: Sequence[str], servers: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start `python -m module ...` in a process group of its own, its output in a log."""
    with (Path(HOME) / "logs" / f"{name}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-m", *module],
            env={**os.environ, **servers},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(url: str, children: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Wait until a server answers.

    Raises:
        PagesError: it did not, or a process died.
    """
    from tasks.errors import PagesError

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for name, child in children.items():
            if child.poll() is not None:
                raise PagesError.of(
                    f"{name} ended with code {child.returncode} while it started",
                    found=tail(name),
                    mend=f"see {Path(HOME) / 'logs' / name}.log",
                )
        if answers(url):
            return
        time.sleep(0.2)
    raise PagesError.of(f"{url} did not answer within {START_SECONDS:.0f} s", mend="see the logs")


def tail(name: str) -> str:
    """Last lines of a log."""
    text = (Path(HOME) / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-5:])


def note_pages(home: Path, servers: dict[str, str]) -> None:
    """Leave word of the servers, so that `ostinato run` shows its runs there.

    Only for this user: the address of a server of their own may hold a password.
    """
    note = home / "pages.json"
    note.touch(mode=0o600)
    note.write_text(json.dumps({"pid": os.getpid(), **servers}), encoding="utf-8")


def watch(children: dict[str, "subprocess.Popen[bytes]"], say: Say) -> int:
    """Wait until a process ends by itself, which none should."""
    while True:
        for name, child in children.items():
            if child.poll() is not None:
                say(f"{name} ended with code {child.returncode}; stopping the others\n{tail(name)}")
                return 1
        time.sleep(0.5)


def interrupt(*_: object) -> None:
    """Treat a polite end like Ctrl-C."""
    raise KeyboardInterrupt


def stop_all(children: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """End every process and its children, the last one first: politely, then by force.

    The jobs go before the servers, for they take their leave from them.
    """
    for child in reversed(children.values()):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
