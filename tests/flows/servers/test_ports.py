"""Ports on this machine: who answers there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flows.servers.ports import find_free_port, is_responding


@contextmanager
def speak(greeting: bytes) -> Iterator[int]:
    """Serve a port at which each caller gets a greeting; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.recv(1)
                    caller.sendall(greeting)

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 99999 odd\r\n\r\n", b"\x00" * 70_000]
)
def test_a_port_at_which_something_else_speaks_does_not_respond(greeting: bytes) -> None:
    with speak(greeting) as port:
        assert not is_responding(f"http://127.0.0.1:{port}/health")
        assert find_free_port(port) != port


def test_a_port_at_which_a_server_answers_responds() -> None:
    with speak(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        assert is_responding(f"http://127.0.0.1:{port}/health")
