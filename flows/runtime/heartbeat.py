"""Heartbeats of a flow run, by which the server finds runs whose process is dead.

Prefect sends them from a thread that sleeps a whole second at a time, and every run waits for that
thread before it ends. Ours ends at once; the events are the same.
"""

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    get_current_settings,
    temporary_settings,
)

_HEARTBEAT = "prefect.flow-run.heartbeat"

interval_seconds: contextvars.ContextVar[int | None] = contextvars.ContextVar("every", default=None)
"""Seconds between two heartbeats of ours; None where none are sent."""


@contextmanager
def use_own_heartbeat() -> Iterator[None]:
    """Send our heartbeats instead of Prefect's in the flows within, at the same interval."""
    token = interval_seconds.set(get_current_settings().flows.heartbeat_frequency)
    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        interval_seconds.reset(token)


@contextmanager
def send_heartbeats() -> Iterator[None]:
    """Send heartbeats of the current flow run, where `use_own_heartbeat` is in effect."""
    context, seconds = FlowRunContext.get(), interval_seconds.get()
    if context is None or seconds is None:
        yield
        return
    stopped, description = threading.Event(), _describe_run(context)

    def send_until_stopped() -> None:
        while True:
            emit_event(_HEARTBEAT, **description)
            if stopped.wait(seconds):
                return

    # A copy, because the context has the server's address.
    context_copy = contextvars.copy_context()
    thread = threading.Thread(
        target=context_copy.run, args=(send_until_stopped,), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _describe_run(context: FlowRunContext) -> dict[str, Any]:
    """Return the resources of a heartbeat event, as Prefect writes them."""
    run = context.flow_run
    assert run is not None  # noqa: S101 - within a flow run
    related = [
        {
            "prefect.resource.id": f"prefect.flow.{run.flow_id}",
            "prefect.resource.role": "flow",
            "prefect.resource.name": context.flow.name if context.flow else "",
        }
    ]
    if run.deployment_id:
        related.append(
            {
                "prefect.resource.id": f"prefect.deployment.{run.deployment_id}",
                "prefect.resource.role": "deployment",
            }
        )
    related += [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
        for tag in run.tags
    ]
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{run.id}",
        "prefect.resource.name": run.name,
    }
    return {"resource": resource, "related": related}
