"""The database of Prefect's servers that we start."""

import asyncio
from pathlib import Path

from tasks.storage.database_file import create_database


def create_prefect_database() -> None:
    """Create the SQLite database that Prefect's settings name, unless it exists.

    Raises:
        StoreError: there is no space for it, or a limit of file sizes is too low.
    """
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
    from sqlalchemy import make_url

    url = make_url(PREFECT_API_DATABASE_CONNECTION_URL.value())
    name = url.database or ""
    if url.get_backend_name() == "sqlite" and name and ":memory:" not in name:
        create_database(Path(name), lambda path: asyncio.run(_make_tables(path)))


async def _make_tables(path: Path) -> None:
    """Make all tables in a new file."""
    from prefect.server.database import provide_database_interface
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config

    configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{path}")
    with temporary_database_config(configuration):
        database = provide_database_interface()
        await database.create_db()
        await (await database.engine()).dispose()
