"""Prefect's command line for the server of `ostinato ui`, whose log keeps addresses to itself.

Where a webhook of a block fails, Prefect's server logs the error, and its words hold the address
with all that is secret in it. Here the log says what kind of error it was.
"""

import logging
import runpy

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


def be_discreet() -> None:
    """Keep addresses out of this process's log."""
    logging.getLogger(TELLS).addFilter(Discreet())


if __name__ == "__main__":
    be_discreet()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
