"""The Prefect server that the user has configured: whether it answers."""

import time

from tasks.errors import PrefectDownError
from tasks.redaction import redact

_TIMEOUT_SECONDS = 8.0
_REQUEST_SECONDS = 3.0
_PAUSE_SECONDS = 0.5


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
    raise PrefectDownError.of(
        f"the Prefect server {redact(address)} does not answer",
        found=redact(cause),
        hint="start it, or correct PREFECT_API_URL; without PREFECT_API_URL, a command has a "
        "server of its own",
    )
