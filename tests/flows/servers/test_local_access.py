"""Servers of `ostinato ui`: foreign web pages can neither read nor change anything."""

import asyncio
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import httpx
import pytest

from flows.servers.local_access import LocalAccess, Message, Receive, Send, find_refusal
from tests.support.sample_jobs import Pages, fetch

FILTER = "/api/block_documents/filter"


def send(url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, str | None]:
    """Send a request, and return its status and the origin that may read the answer."""
    request = urllib.request.Request(url, body, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers["access-control-allow-origin"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["access-control-allow-origin"]


def open_web_socket(url: str, origin: str) -> str:
    """Request a web socket as a browser does, and return the status line of the answer."""
    parts = urlsplit(url)
    lines = [
        "GET /api/events/out HTTP/1.1", f"Host: {parts.netloc}", f"Origin: {origin}",
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: prefect", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(4096).split(b"\r\n", 1)[0].decode()


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
def test_a_foreign_page_cannot_read_blocks(pages: Pages, origin: str) -> None:
    assert send(pages.prefect + FILTER, {"Origin": origin}, b"{}") == (403, None)


def test_a_foreign_name_for_this_machine_is_refused(pages: Pages) -> None:
    foreign = {"Host": "evil.example:4200"}

    assert send(pages.prefect + FILTER, foreign, b"{}")[0] == 403
    assert send(f"{pages.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0", foreign)[0] == 403


def test_a_foreign_page_cannot_listen_to_events(pages: Pages) -> None:
    assert "403" in open_web_socket(pages.prefect, "http://evil.example")
    assert "101" in open_web_socket(pages.prefect, pages.prefect)


def test_a_foreign_page_cannot_change_the_registry(pages: Pages) -> None:
    url = f"{pages.mlflow}/api/2.0/mlflow/experiments/create"
    body = b'{"name": "planted"}'

    assert send(url, {"Origin": "http://evil.example"}, body)[0] == 403
    assert send(url, {"Origin": pages.mlflow}, body)[0] == 200


def test_programs_and_the_own_pages_are_answered(pages: Pages) -> None:
    by_name = pages.prefect.replace("127.0.0.1", "localhost")

    assert send(pages.prefect + FILTER, {}, b"{}")[0] == 200
    assert send(pages.prefect + FILTER, {"Origin": pages.prefect}, b"{}") == (200, pages.prefect)
    assert send(pages.prefect + FILTER, {"Origin": by_name}, b"{}") == (200, by_name)
    assert b"<title>" in fetch(pages.prefect)


@pytest.mark.parametrize("host", ["", "[", "127.0.0.1:x", "evil.example", "localhost.evil.example"])
def test_malformed_and_foreign_hosts_are_refused(host: str) -> None:
    assert find_refusal(host, None)


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost", "[::1]:4200"])
def test_names_of_this_machine_are_allowed(host: str) -> None:
    assert find_refusal(host, None) is None
    assert find_refusal(host, f"http://{host}") is None


async def answer(scope: Message, receive: Receive, send: Send) -> None:
    """Answer every request."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(("name", "status"), [("prefect-in-memory", 200), ("evil.example", 403)])
def test_the_server_calls_itself(name: str, status: int) -> None:
    """Actions of automations start runs by requests that take no connection."""

    async def call() -> int:
        transport = httpx.ASGITransport(app=LocalAccess(answer))
        async with httpx.AsyncClient(transport=transport) as client:
            return (await client.get(f"http://{name}/api/health")).status_code

    assert asyncio.run(call()) == status


def test_a_request_cannot_pass_as_a_call_of_the_server_itself(pages: Pages) -> None:
    assert send(pages.prefect + FILTER, {"Host": "prefect-in-memory"}, b"{}")[0] == 403
