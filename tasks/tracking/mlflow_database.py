"""MLflow's own database, where it works without a server."""

import logging
import os
from pathlib import Path

from tasks.storage.database_file import create_database
from tasks.storage.disk_errors import build_disk_error

_MLFLOW_LOGGER = "mlflow.store.db.utils"
"""MLflow's logger of errors of its database."""

_PREFIX = "sqlite:///"


def create_mlflow_database() -> None:
    """Create the SQLite database that MLFLOW_TRACKING_URI names, unless it exists.

    Raises:
        StoreError: there is no space for it, or a limit of file sizes is too low.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    # A query, as in sqlite:///file.db?timeout=60, is no part of the path.
    name = uri.removeprefix(_PREFIX).partition("?")[0]
    logging.getLogger(_MLFLOW_LOGGER).addFilter(_is_no_disk_error)
    if uri.startswith(_PREFIX) and name not in {"", ":memory:"}:
        create_database(Path(name), _make_tables)


def _make_tables(path: Path) -> None:
    """Make all tables of the tracking store and the registry, and the default experiment."""
    # The registry's tables are made with those of the runs, if its module is loaded.
    import mlflow.store.model_registry.sqlalchemy_store  # noqa: F401
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"{_PREFIX}{path}", (path.parent / "artifacts").absolute().as_uri())
    store._dispose_engine()  # noqa: SLF001 - nothing else closes the file


def _is_no_disk_error(record: logging.LogRecord) -> bool:
    """Let MLflow log an error, unless we tell of it: MLflow logs SQL and its own traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or build_disk_error(error, where="MLflow") is None
