"""Addresses of MLflow's files follow its database when their folder is moved, copied or restored.

MLflow keeps an absolute address with every experiment, run, logged model and version. Where it
works on a database of this machine, its files are in `artifacts` beside the database. So addresses
that name another folder are those from before a move, and are changed before they are used:
otherwise a moved folder has lost its models, and a copy writes into the original.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tasks.errors import RegistryError
from tasks.task_options import logger

EXPERIMENT_TAG = "ostinato.job_name"
"""Tag of the experiments that were created here, whose files are beside the database."""

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
"""Tables and columns of MLflow's database with addresses."""

_WAIT_SECONDS = 60.0
"""How long another process may hold the database."""

_LOCATIONS = (
    "SELECT DISTINCT artifact_location FROM experiments JOIN experiment_tags "
    "USING (experiment_id) WHERE key = ?"
)


def find_artifact_dir(tracking_uri: str) -> Path | None:
    """Return the folder of MLflow's files beside its database; None where it is on a server."""
    database = _find_database(tracking_uri)
    return database.parent / "artifacts" if database else None


@cache
def mend_artifact_addresses(tracking_uri: str) -> None:
    """Let the addresses in MLflow's database name the folder that it is in now, once in a process.

    Args:
        tracking_uri: of MLflow; nothing is done where it is no database of this machine.

    Raises:
        RegistryError: the database is damaged, or cannot be written.
    """
    database, folder = _find_database(tracking_uri), find_artifact_dir(tracking_uri)
    if database is None or folder is None or not database.is_file():
        return
    try:
        with closing(_connect(database)) as connection:
            moved = list(_find_former_folders(connection, folder))
            for former in moved:
                _replace_addresses(connection, former, folder.as_uri())
    except sqlite3.Error as error:
        raise RegistryError.of(
            f"MLflow's database {database} cannot be read or written: {error}",
            hint="give this user the right to write there, or restore it from a copy",
        ) from error
    for former in moved:
        logger().warning("MLflow's files were moved: from %s to %s", former, folder.as_uri())


def _find_database(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite database; None where it is another one, or in memory."""
    scheme, _, path = tracking_uri.partition(":///")
    path = path.partition("?")[0]
    is_file = scheme.partition("+")[0] == "sqlite" and path and path != ":memory:"
    return Path(path).absolute() if is_file else None


def _connect(database: Path) -> sqlite3.Connection:
    """Open a database that exists; every statement is a transaction of its own."""
    uri = f"file:{quote(str(database))}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)


def _find_former_folders(connection: sqlite3.Connection, folder: Path) -> Iterator[str]:
    """Find the URIs of the folders in which MLflow's files were before.

    A folder that exists is a former one only if the database's own folder has the files too, as
    after a copy: files that the user keeps elsewhere stay where they are.
    """
    if not {"experiments", "experiment_tags"} <= _list_tables(connection):
        return
    locations = [str(row[0]) for row in connection.execute(_LOCATIONS, (EXPERIMENT_TAG,))]
    found = set()
    for location in locations:
        former, _, name = location.rpartition("/")
        if not former.startswith("file:") or former == folder.as_uri():
            continue
        before = Path(unquote(urlsplit(former).path))
        if before.exists() and folder.exists() and before.samefile(folder):
            continue
        if (folder / unquote(name)).exists() or not before.exists():
            found.add(former)
    yield from sorted(found)


def _replace_addresses(connection: sqlite3.Connection, former: str, current: str) -> None:
    """Replace the former folder by the current one at the start of every address, or of none."""
    tables = _list_tables(connection)
    start = f"{former}/"
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        for table, column in _ADDRESSES:
            if table in tables:
                # The names are those above.
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE substr({column}, 1, ?) = ?",
                    (f"{current}/", len(start) + 1, len(start), start),
                )


def _list_tables(connection: sqlite3.Connection) -> set[str]:
    """List the names of a database's tables."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {str(row[0]) for row in rows}
