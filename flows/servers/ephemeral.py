"""A Prefect server for one command where none is configured: it starts first and ends with it.

Prefect starts such a server too, but only at its first request, when everything is imported, and it
imports the server's code into this process as well. Started before our imports, the server is ready
when they are. It ends when this process does, however that ends.
"""

import atexit
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flows.servers.ports import find_free_port
from flows.servers.prefect_api import require_server, start_connecting
from flows.servers.processes import (
    end_with_parent,
    exit_on_store_error,
    start_child,
    stop_children,
    wait_until_responding,
)

_STOP_TIMEOUT_SECONDS = 5.0

SERVER_SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
"""Prefect's own settings of an ephemeral server: no UI, and only the services that a run needs."""


def start_server() -> Callable[[], None]:
    """Start a server, unless the user may have configured one; Prefect then uses that.

    Returns:
        A function that waits until the server responds, and raises `PagesError` or, where one is
        configured, `PrefectDownError` when it does not.
    """
    if is_server_configured():
        address = os.environ.get("PREFECT_API_URL")
        return partial(_require_configured_server, start_connecting(address) if address else None)
    port = find_free_port()
    server = start_child(
        "the Prefect server of this command",
        ["flows.servers.ephemeral", str(port), str(os.getpid())],
        SERVER_SETTINGS,
    )
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    # Functions run in reverse order of registration: Prefect sends its logs and events before this.
    atexit.register(stop_children, [server], timeout_seconds=_STOP_TIMEOUT_SECONDS)
    return lambda: wait_until_responding(f"http://127.0.0.1:{port}/api/health", [server])


def is_server_configured() -> bool:
    """Check whether the environment, or one of Prefect's files, may name a server."""
    variables = {"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"}
    if variables & set(os.environ) or Path("prefect.toml").exists():
        return True
    profiles = Path(os.environ["PREFECT_HOME"]) / "profiles.toml"
    marks = {
        profiles: "PREFECT_API_URL",
        Path(".env"): "PREFECT_",
        Path("pyproject.toml"): "tool.prefect",
    }
    return any(path.exists() and mark in path.read_text("utf-8") for path, mark in marks.items())


def _require_configured_server(require_connection: Callable[[], None] | None) -> None:
    """Check the user's server, with Prefect's client, which is imported only then."""
    if require_connection is not None:
        require_connection()
    require_server()


def _serve(port: int, parent_pid: int) -> None:
    """Serve Prefect's API as long as the process lives that started this one."""
    import uvicorn

    from flows.servers.prefect_database import create_prefect_database
    from flows.servers.prefect_server import patch_server

    patch_server()
    end_with_parent(parent_pid)
    exit_on_store_error(create_prefect_database)
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
