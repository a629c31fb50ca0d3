"""Prefect's command line for the servers that we start, mended where Prefect's own would harm.

Where a webhook of a block fails, Prefect's server logs the error, and its words hold the address
with all that is secret in it. Here the log says what kind of error it was.

On SQLite, Prefect's transactions read first and ask for the right to write later. Of two that have
read the same, SQLite refuses one at once, and the events that it was about are dropped after four
attempts; with automations on a busy server, requests stood still for a minute and more. Here every
transaction asks as it begins, and waits for its turn.
"""

import logging
import runpy
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

TELLS = "prefect.server.utilities.messaging.memory"
"""The logger of what goes wrong in an automation's action."""


class Discreet(logging.Filter):
    """Lets an error through by its kind alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the error off the record."""
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
            record.args, record.exc_info, record.exc_text = None, None, None
        return True


def mend() -> None:
    """Mend the server that this process becomes."""
    logging.getLogger(TELLS).addFilter(Discreet())
    take_turns()


def take_turns() -> None:
    """Let every transaction on SQLite ask for the right to write as it begins."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    begun = AioSqliteConfiguration.begin_transaction

    def begin_transaction(
        self: AioSqliteConfiguration,
        session: "AsyncSession",
        with_for_update: bool = False,  # noqa: ARG001 - as Prefect has it
    ) -> "AbstractAsyncContextManager[AsyncSessionTransaction]":
        return begun(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    mend()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
