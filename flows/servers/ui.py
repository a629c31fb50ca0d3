"""`ostinato ui`: the Prefect server, the MLflow server, and a process that serves the jobs.

They start together, on 127.0.0.1 only, and stop together: by Ctrl-C, or when one of them ends.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.environment import (
    HOME_DIR,
    UI_FILE,
    build_local_tracking_uri,
    configure_environment,
)
from flows.servers.local_access import list_origins
from flows.servers.ports import find_free_port
from flows.servers.processes import (
    Child,
    find_ended,
    start_child,
    stop_children,
    wait_until_responding,
)

if TYPE_CHECKING:
    from flows.job.job import Job

_STOP_TIMEOUT_SECONDS = 10.0
_WATCH_SECONDS = 0.5

Echo = Callable[[str], object]


def serve_ui(jobs: Sequence[Path], *, prefect_port: int, mlflow_port: int, echo: Echo) -> int:
    """Start all three, wait until one ends, stop the others, and return the exit code.

    Args:
        jobs: job files to serve.
        prefect_port: preferred port of the Prefect server.
        mlflow_port: preferred port of the MLflow server.
        echo: prints a line for the user.
    """
    configure_environment(use_running_ui=False)
    from flows.job.job import load_job

    loaded = [(path, load_job(path)) for path in jobs]
    home = Path(HOME_DIR)
    (home / "logs").mkdir(parents=True, exist_ok=True)
    children: list[Child] = []
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop_signal, _raise_interrupt)
    try:
        servers = _start_servers(children, prefect_port=prefect_port, mlflow_port=mlflow_port)
        if loaded:
            _start_jobs(loaded, servers, children)
        _write_server_addresses(home, servers)
        _print_addresses(jobs, servers, home, echo)
        return _watch(children, echo)
    except KeyboardInterrupt:
        return 130
    finally:
        (home / UI_FILE).unlink(missing_ok=True)
        # The jobs stop before the servers, which they still report to.
        stop_children(children, timeout_seconds=_STOP_TIMEOUT_SECONDS)


def _start_servers(children: list[Child], *, prefect_port: int, mlflow_port: int) -> dict[str, str]:
    """Start the servers that the environment does not name, and wait until both respond.

    Args:
        children: each server is appended as soon as it has started.
        prefect_port: preferred port of the Prefect server.
        mlflow_port: preferred port of the MLflow server.

    Returns:
        The environment variables with the addresses of both.
    """
    prefect = os.environ.get("PREFECT_API_URL")
    if prefect is None:
        port = find_free_port(prefect_port)
        prefect = f"http://127.0.0.1:{port}/api"
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        origins = ",".join(list_origins(port))
        variables = {"PREFECT_API_URL": prefect, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins}
        children.append(_start("prefect", ["flows.servers.prefect_server", *command], variables))
    mlflow = os.environ["MLFLOW_TRACKING_URI"]
    if not mlflow.startswith("http"):
        from tasks.tracking.artifact_addresses import mend_artifact_addresses

        mend_artifact_addresses(build_local_tracking_uri())
        port = find_free_port(mlflow_port)
        mlflow = f"http://127.0.0.1:{port}"
        own = {
            "MLFLOW_TRACKING_URI": build_local_tracking_uri(),
            # Its jobs judge the answers of language models: seven processes that nothing here uses.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        children.append(_start("mlflow", _build_mlflow_command(port), own))
    wait_until_responding(f"{prefect}/health", children)
    wait_until_responding(f"{mlflow}/health", children)
    return {"PREFECT_API_URL": prefect, "MLFLOW_TRACKING_URI": mlflow}


def _start_jobs(
    jobs: Sequence[tuple[Path, "Job"]], servers: dict[str, str], children: list[Child]
) -> None:
    """Start the process that serves the jobs.

    Raises:
        JobError: a job names a notification block that does not exist.
    """
    if any(job.notify for _, job in jobs):
        from flows.notifications.blocks import check_blocks

        check_blocks(jobs, servers["PREFECT_API_URL"])
    own_server = any(child.name == "prefect" for child in children)
    options = ["--alone"] if own_server else []
    paths = [str(path) for path, _ in jobs]
    children.append(_start("jobs", ["flows.deployment.serve", *options, *paths], servers))


def _start(name: str, arguments: Sequence[str], variables: dict[str, str]) -> Child:
    """Start a child whose output goes to a log of its name."""
    return start_child(name, arguments, variables, log=Path(HOME_DIR) / "logs" / f"{name}.log")


def _build_mlflow_command(port: int) -> list[str]:
    """Return the arguments of an MLflow server on the database and files of embedded runs."""
    files = (Path(HOME_DIR) / "mlflow" / "artifacts").absolute()
    return [
        "flows.servers.mlflow_server", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", build_local_tracking_uri(), "--no-serve-artifacts",
        "--default-artifact-root", files.as_uri(),
    ]  # fmt: skip


def _write_server_addresses(home: Path, servers: dict[str, str]) -> None:
    """Write the addresses to a file, by which `ostinato run` in this folder finds the servers.

    Only this user may read it: the address of a configured server may contain a password.
    """
    path = home / UI_FILE
    path.touch(mode=0o600)
    content = {"pid": os.getpid(), "folder": str(home.absolute()), **servers}
    path.write_text(json.dumps(content), encoding="utf-8")


def _print_addresses(jobs: Sequence[Path], servers: dict[str, str], home: Path, echo: Echo) -> None:
    """Print the addresses, without passwords, the jobs and the folder of the logs."""
    from tasks.redaction import redact

    echo(f"Prefect  {redact(servers['PREFECT_API_URL'].removesuffix('/api'))}")
    echo(f"MLflow   {redact(servers['MLFLOW_TRACKING_URI'])}")
    echo(f"Jobs     {', '.join(path.stem for path in jobs) or 'none'}")
    echo(f"Logs     {home / 'logs'}; stop with Ctrl-C")
    sys.stdout.flush()


def _watch(children: Sequence[Child], echo: Echo) -> int:
    """Wait until a child ends on its own, which is an error; return the exit code."""
    while True:
        if ended := find_ended(children):
            echo(f"{ended.describe_end()}; stopping the others\n{ended.read_log_tail()}")
            return 1
        time.sleep(_WATCH_SECONDS)


def _raise_interrupt(*_: object) -> None:
    """Handle SIGTERM like Ctrl-C."""
    raise KeyboardInterrupt
