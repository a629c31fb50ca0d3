"""Prefect's command line for the servers that we start, with three faults of Prefect patched.

Prefect's server answers every `Host` and `Origin`, so that any web page that the user has open
could start runs and read blocks with their secrets. Here it answers only programs of this machine
and its own pages.

When the webhook of a block fails, Prefect's server logs the error, whose message contains the
address with all its secrets. Here the log names only the type of the error.

On SQLite, Prefect's transactions read first and request the write lock later. Of two that have read
the same rows, SQLite rejects one at once, and its events are dropped after four attempts; with
automations on a busy server, requests were blocked for a minute and more. Here every transaction
requests the lock as it begins, and waits for it.
"""

import logging
import runpy
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from flows.servers.local_access import LocalAccess
from flows.servers.prefect_database import create_prefect_database
from flows.servers.processes import exit_on_store_error

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

ACTION_LOGGER = "prefect.server.utilities.messaging.memory"
"""Prefect's logger of failed actions of automations."""


class ErrorKindFilter(logging.Filter):
    """Replaces an error in a log record by the name of its type."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and return True, so that it is logged."""
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
            record.args, record.exc_info, record.exc_text = None, None, None
        return True


def patch_server() -> None:
    """Patch Prefect's server code in this process."""
    logging.getLogger(ACTION_LOGGER).addFilter(ErrorKindFilter())
    _lock_on_begin()
    _refuse_foreign_pages()


def _refuse_foreign_pages() -> None:
    """Patch Prefect so that its application answers only this machine and its own pages."""
    from prefect.server.api import server

    original = server.create_app

    def create_app(*arguments: object, **options: object) -> "FastAPI":
        app = original(*arguments, **options)  # type: ignore[arg-type]
        # Prefect keeps applications that it has created, and returns them again.
        if not hasattr(app.state, "local_access"):
            app.state.local_access = True
            app.add_middleware(LocalAccess)
        return app

    server.create_app = create_app


def _lock_on_begin() -> None:
    """Patch Prefect so that every transaction on SQLite requests the write lock as it begins."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    original = AioSqliteConfiguration.begin_transaction

    def begin_transaction(
        self: AioSqliteConfiguration,
        session: "AsyncSession",
        with_for_update: bool = False,  # noqa: ARG001 - as Prefect has it
    ) -> "AbstractAsyncContextManager[AsyncSessionTransaction]":
        return original(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    patch_server()
    exit_on_store_error(create_prefect_database)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
