"""Errors that are meant for the user come without a traceback; all others keep theirs."""

import logging

from tasks.errors import OstinatoError


class WithoutTraceback(logging.Filter):
    """Takes the traceback off a record whose exception is one of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record and let it through."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OstinatoError):
            record.exc_info = None
            record.exc_text = None
        return True


def hush() -> None:
    """Filter the loggers of flow and task runs."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(found, WithoutTraceback) for found in logger.filters):
            logger.addFilter(WithoutTraceback())
