"""Ports on this machine: find a free one, and check whether a server responds."""

import http.client
import socket
import urllib.error
import urllib.request
from contextlib import suppress


def find_free_port(preferred: int = 0) -> int:
    """Return the preferred port, or any free one when it is in use.

    Raises:
        OSError: no port is free.
    """
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port of 127.0.0.1 is free")


def is_responding(url: str) -> bool:
    """Check whether a server responds at an address, in HTTP and without an error."""
    # Another program at this port may speak first, or in another protocol: HTTPException.
    with suppress(urllib.error.URLError, http.client.HTTPException, OSError):
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - our own servers
        return True
    return False
