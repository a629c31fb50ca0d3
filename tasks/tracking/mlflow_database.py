"""MLflow's own database, where it works without a server."""

import os
from pathlib import Path

from tasks.storage.database_file import create_database

_PREFIX = "sqlite:///"


def create_mlflow_database() -> None:
    """Create the SQLite database that MLFLOW_TRACKING_URI names, unless it exists.

    Raises:
        OSError: its folder cannot be written.
        sqlalchemy.exc.OperationalError: the database cannot be written.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    # A query, as in sqlite:///file.db?timeout=60, is no part of the path.
    name = uri.removeprefix(_PREFIX).partition("?")[0]
    if uri.startswith(_PREFIX) and name not in {"", ":memory:"}:
        create_database(Path(name), _make_tables)


def _make_tables(path: Path) -> None:
    """Make all tables of the tracking store and the registry, and the default experiment."""
    # The registry's tables are made with those of the runs, if its module is loaded.
    import mlflow.store.model_registry.sqlalchemy_store  # noqa: F401
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"{_PREFIX}{path}", (path.parent / "artifacts").absolute().as_uri())
    store._dispose_engine()  # noqa: SLF001 - nothing else closes the file
