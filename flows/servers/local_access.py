"""Who may talk to a server on 127.0.0.1: programs of this machine, and the server's own pages.

A browser on this machine sends the requests of any web page to 127.0.0.1. Two checks keep foreign
pages out, as the OWASP cheat sheets on cross-site request forgery and DNS rebinding describe them:
the `Host` that is asked for is a name of this machine, so that no foreign name can be bound to its
address; and where there is an `Origin`, it is the server's own. Browsers send it with every request
that changes something, with every request that a page may read from elsewhere, and with web
sockets; programs do not send it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_LOCAL_NAMES = {"127.0.0.1", "localhost", "::1"}

_IN_PROCESS = "prefect-in-memory"
"""Name by which Prefect's server calls its own application, without a connection. Of a request over
a connection, the server's address is that of its socket, whatever the request says."""

_POLICY_VIOLATION = 1008
"""Code of a web socket that is refused (RFC 6455)."""


def list_origins(port: int) -> list[str]:
    """Return the origins of a local server's own pages."""
    return [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]


class LocalAccess:
    """ASGI middleware that answers 403 to requests of foreign pages."""

    def __init__(self, app: App) -> None:
        """Protect an application."""
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        in_process = (scope.get("server") or ("",))[0] == _IN_PROCESS
        if scope["type"] not in {"http", "websocket"} or in_process:
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = find_refusal(headers.get(b"host", ""), headers.get(b"origin"))
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal})
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": text})
            await send({"type": "http.response.body", "body": refusal.encode()})


def find_refusal(host: str, origin: str | None) -> str | None:
    """Return why a request is refused; None when it is allowed.

    Args:
        host: the `Host` of the request.
        origin: the `Origin` of the page that sends it; None without one.
    """
    asked = _split(f"//{host}")
    if asked is None or asked[0] not in _LOCAL_NAMES:
        return "This server answers only as 127.0.0.1 or localhost."
    if origin is None:
        return None
    page = _split(origin)
    if page is None or page[0] not in _LOCAL_NAMES or page[1] != asked[1]:
        return "This server answers only its own pages."
    return None


def _split(url: str) -> tuple[str, int | None] | None:
    """Return the host's name and the port of a URL; None when it has none or is malformed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None
