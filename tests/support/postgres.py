"""A real PostgreSQL server for the tests: empty at first, and removed when they end."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MISSING = "PostgreSQL's initdb is not installed: apt-get install postgresql"


@dataclass(frozen=True)
class Postgres:
    """A server that runs until `stop`."""

    binaries: Path
    data: Path
    port: int

    @property
    def uri(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, *command: str) -> None:
        # PostgreSQL refuses to run as root.
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run(
            [*as_postgres, self.binaries / command[0], "-D", self.data, *command[1:]],
            check=True,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            cwd=self.data.parent,
        )

    def start(self) -> None:
        options = f"-p {self.port} -k {self.data.parent} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run("pg_ctl", "-o", options, "-l", str(self.data.parent / "log"), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-w", "-m", mode, "stop")

    def sql(self, *statements: str) -> None:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def find_binaries() -> Path | None:
    """Find initdb where Debian puts it, or on the path."""
    if packaged := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return packaged[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    binaries = find_binaries()
    if binaries is None and os.environ.get("CI"):
        pytest.fail(MISSING)
    if binaries is None:
        pytest.skip(MISSING)
    # Not in pytest's folder: the server's user needs access, and socket paths must be short.
    with tempfile.TemporaryDirectory(prefix="ostinato-postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = Postgres(binaries, folder / "data", find_free_port())
        server.run("initdb", "--auth=trust", "--no-sync", "-U", "postgres", "-E", "UTF8")
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
