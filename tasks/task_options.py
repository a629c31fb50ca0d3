"""What every stage's task shares: when Prefect retries it, and its logger."""

import logging
from typing import Any, TypedDict

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.tasks import exponential_backoff

from tasks.errors import is_transient

AnyLogger = logging.Logger | logging.LoggerAdapter[Any]


async def worth_a_retry(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's types
    """Let Prefect retry what may vanish by itself, and nothing else."""
    result = await state.aresult(raise_on_failure=False)
    return isinstance(result, BaseException) and is_transient(result)


class StageOptions(TypedDict):
    """Options that every stage's task has in common."""

    retries: int
    retry_delay_seconds: Any
    retry_jitter_factor: float
    retry_condition_fn: Any
    persist_result: bool
    tags: list[str]


STAGE = StageOptions(
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    # The store is the cache: results are small records that are read back by key.
    persist_result=False,
    tags=["ostinato"],
)


def publish_page(key: str, markdown: str) -> None:
    """Leave a page in Prefect's UI, where the stage runs under Prefect."""
    if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
        create_markdown_artifact(markdown, key=key.lower().replace("_", "-"))


HOUR = 3600
"""Seconds of an hour, in which the timeouts of stages are given."""


def logger() -> AnyLogger:
    """Prefect's logger inside a run, the ordinary one outside."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("ostinato")
