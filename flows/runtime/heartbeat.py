"""Heartbeats of a flow run, by which a server finds those whose process is dead.

Prefect sends them from a thread that sleeps a whole second at a time, and every run waits for it
to wake before it ends. Ours ends at once; what it sends is the same.
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

HEARTBEAT = "prefect.flow-run.heartbeat"

every: contextvars.ContextVar[int | None] = contextvars.ContextVar("every", default=None)
"""Seconds between two of ours; none are sent where it is empty."""


@contextmanager
def own_pulse() -> Iterator[None]:
    """Let the flows that run within send heartbeats themselves, as often as Prefect would."""
    token = every.set(get_current_settings().flows.heartbeat_frequency)
    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        every.reset(token)


@contextmanager
def beating() -> Iterator[None]:
    """Send heartbeats of the flow run at hand, where Prefect sends none and they are wanted."""
    context, seconds = FlowRunContext.get(), every.get()
    if context is None or seconds is None:
        yield
        return
    over, told = threading.Event(), heartbeat_of(context)

    def beat() -> None:
        while True:
            emit_event(HEARTBEAT, **told)
            if over.wait(seconds):
                return

    # In this context, for it names the server.
    inside = contextvars.copy_context()
    thread = threading.Thread(target=inside.run, args=(beat,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def heartbeat_of(context: FlowRunContext) -> dict[str, Any]:
    """Describe the run as Prefect does it."""
    run = context.flow_run
    assert run is not None  # noqa: S101 - a run is under way
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
