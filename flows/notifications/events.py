"""The Prefect events that our flows emit, for each other and for anybody's automations."""

from collections.abc import Mapping

from prefect.events import emit_event

from flows.job.notify_config import EVENT_NAMES
from tasks.registry.promotion import MoveResult

DRIFT, PERFORMANCE, ALIAS_MOVED = (
    EVENT_NAMES["drift"],
    EVENT_NAMES["performance"],
    EVENT_NAMES["alias-moved"],
)


OUR_TAG = "ostinato"
"""Tag of every flow run of ours."""


def format_resource_id(name: str) -> str:
    """Return the id of a job as the resource of an event."""
    return f"ostinato.job.{name}"


def list_tags(name: str) -> tuple[str, str]:
    """Return the tags of every run for a job; automations select the runs by them."""
    return (OUR_TAG, f"job:{name}")


def emit_job_event(
    event: str, name: str, *, title: str, text: str, facts: Mapping[str, object]
) -> None:
    """Emit an event about a job.

    Args:
        event: name of the event.
        name: name of the job.
        title: summary in one line.
        text: message in a few lines, for a person.
        facts: further fields of the payload, for programs.
    """
    resource = {"prefect.resource.id": format_resource_id(name), "prefect.resource.name": name}
    emit_event(event, resource=resource, payload={"title": title, "text": text, **facts})


def emit_alias_move(name: str, moved: MoveResult) -> None:
    """Emit the event that a person, by a form or a command, moved an alias."""
    line = moved.change
    emit_job_event(
        ALIAS_MOVED,
        name,
        title=f"{name}: {line.action} of version {line.version}",
        text=f"{line.action} by {line.actor}: {line.reason or 'no reason was given'}",
        facts={
            "action": line.action,
            "version": line.version,
            "why": line.reason,
            "who": line.actor,
        },
    )
