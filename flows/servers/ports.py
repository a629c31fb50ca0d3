"""Servers of our own on this machine: a port for one, and whether it answers."""

import socket
import urllib.error
import urllib.request
from contextlib import suppress

START_SECONDS = 180.0
"""That a server may take to start: a busy machine, a fresh database."""


def free_port(wanted: int = 0) -> int:
    """Return the wanted port, or a free one when it is taken.

    Raises:
        OSError: no port is free.
    """
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port of 127.0.0.1 is free")


def answers(url: str) -> bool:
    """Tell whether a server answers at an address, and says that all is well."""
    with suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - our own servers
        return True
    return False
