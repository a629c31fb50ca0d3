"""A log filter that removes the traceback of our own errors, which are meant for the user."""

import logging

from tasks.errors import OstinatoError


class _TracebackFilter(logging.Filter):
    """Removes the traceback from a record whose exception is one of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and return True, so that it is logged."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OstinatoError):
            record.exc_info = None
            record.exc_text = None
        return True


def hide_tracebacks() -> None:
    """Add the filter to Prefect's loggers of flow and task runs."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _TracebackFilter) for each in logger.filters):
            logger.addFilter(_TracebackFilter())
