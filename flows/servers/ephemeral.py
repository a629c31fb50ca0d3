"""A Prefect server for one command, where none is named: begun first, and ended with the command.

Prefect starts such a server too, but at its first request, when everything is imported, and for
that it imports the server's code into this process as well. Begun before the imports, it is ready
when they are. It ends when this process does, however that dies.
"""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flows.servers.ports import START_SECONDS, answers, free_port

STOP_SECONDS = 5.0
LOOK_SECONDS = 1.0
"""Between two looks at whether the command still lives."""

LIKE_PREFECTS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
"""What Prefect sets for a server of this kind: no pages, and only the services that a run needs."""


def begin() -> Callable[[], None]:
    """Begin to start a server, unless one may be named somewhere; Prefect then sees to it.

    Returns:
        what waits until it answers.
    """
    if is_named():
        return lambda: None
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, "-m", "flows.servers.ephemeral", str(port), str(os.getpid())],
        env={**os.environ, **LIKE_PREFECTS},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    # What is registered first is done last: logs and events are handed in before it.
    atexit.register(end, process)
    return lambda: wait_for(process, f"http://127.0.0.1:{port}/api/health")


def is_named() -> bool:
    """Tell whether a server may be named: in the environment, or in one of Prefect's files."""
    named = {"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"}
    if named & set(os.environ) or Path("prefect.toml").exists():
        return True
    profiles = Path(os.environ["PREFECT_HOME"]) / "profiles.toml"
    marks = {
        profiles: "PREFECT_API_URL",
        Path(".env"): "PREFECT_",
        Path("pyproject.toml"): "tool.prefect",
    }
    return any(path.exists() and mark in path.read_text("utf-8") for path, mark in marks.items())


def wait_for(process: "subprocess.Popen[bytes]", address: str) -> None:
    """Wait until the server answers.

    Raises:
        PagesError: it ended, or took too long.
    """
    from tasks.errors import PagesError

    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if answers(address):
            return
        time.sleep(0.05)
    raise PagesError.of(
        "the Prefect server of this command did not start",
        found=f"code {process.poll()}" if process.poll() is not None else "no answer",
        mend="see what it wrote above; or start one: ostinato ui",
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """End the server: politely, then by force."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(port: int, parent: int) -> None:
    """Serve Prefect's API while the process that asked for it lives."""
    import uvicorn

    from flows.servers.prefect_server import mend

    mend()
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


def end_with(parent: int) -> None:
    """End this process once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
