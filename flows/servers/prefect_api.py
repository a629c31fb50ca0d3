"""The Prefect server that the user has configured: whether it answers."""

import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tasks.errors import PrefectDownError
from tasks.redaction import redact

_CONNECT_SECONDS = 5.0
"""Time in which a connection has to succeed; the command's imports take as long."""
_TIMEOUT_SECONDS = 2.0
"""Time that a server which takes connections has for a whole answer."""
_REQUEST_SECONDS = 2.0
_PAUSE_SECONDS = 0.5

_PORTS = {"https": 443}


def start_connecting(address: str) -> Callable[[], None]:
    """Try to connect to a server while the command goes on with its imports.

    Args:
        address: of its API.

    Returns:
        A function that waits for the result, and raises `PrefectDownError` where no connection
        succeeded in time. A server behind a proxy is not tried.
    """
    parts = urlsplit(address)
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname or ""):
        return lambda: None
    failures: list[str] = []

    def connect() -> None:
        deadline = time.monotonic() + _CONNECT_SECONDS
        while cause := _find_connection_error(address):
            if time.monotonic() > deadline:
                failures.append(cause)
                return
            time.sleep(_PAUSE_SECONDS)

    thread = threading.Thread(target=connect, name="prefect-probe", daemon=True)
    thread.start()

    def require_connection() -> None:
        thread.join()
        if failures:
            raise _build_down_error(address, failures[0])

    return require_connection


def _find_connection_error(address: str) -> str | None:
    """Try to connect once, and return why that failed; None where it did not."""
    try:
        parts = urlsplit(address)
        place = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80))
        socket.create_connection(place, timeout=_REQUEST_SECONDS).close()
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def require_server(*, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
    """Wait until the configured Prefect server answers, if one is configured.

    A run would otherwise retry each of its requests for minutes.

    Raises:
        PrefectDownError: it did not answer in time.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    address = PREFECT_API_URL.value()
    if address is None:
        return
    deadline = time.monotonic() + timeout_seconds
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        while True:
            with get_client(
                sync_client=True, httpx_settings={"timeout": _REQUEST_SECONDS}
            ) as client:
                error = client.api_healthcheck()
            if error is None:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_SECONDS)
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise _build_down_error(address, cause)


def _build_down_error(address: str, cause: str) -> PrefectDownError:
    """Build the error for a server that does not answer."""
    return PrefectDownError.of(
        f"the Prefect server {redact(address)} does not answer",
        found=redact(cause),
        hint="start it, or correct PREFECT_API_URL; without PREFECT_API_URL, a command has a "
        "server of its own",
    )
