"""The events by which our flows tell each other, and anybody's automations, what they found."""

from collections.abc import Mapping

from prefect.events import emit_event

from flows.job.notify_config import EVENTS
from tasks.registry.promotion import Moved

DRIFT, QUALITY, MOVED = EVENTS["drift"], EVENTS["quality"], EVENTS["moved"]


def resource_of(name: str) -> str:
    """Name a job in events."""
    return f"ostinato.job.{name}"


def tags_of(name: str) -> tuple[str, str]:
    """Tag whatever runs for a job; by these, automations know the runs."""
    return ("ostinato", f"job:{name}")


def tell(event: str, name: str, *, title: str, text: str, facts: Mapping[str, object]) -> None:
    """Emit an event about a job.

    Args:
        event: its name.
        name: of the job.
        title: the news in one line.
        text: the news in a few lines, as a person is told them.
        facts: what programs look at.
    """
    resource = {"prefect.resource.id": resource_of(name), "prefect.resource.name": name}
    emit_event(event, resource=resource, payload={"title": title, "text": text, **facts})


def tell_move(name: str, moved: Moved) -> None:
    """Tell that a person, by a form or a command, changed who serves."""
    line = moved.line
    tell(
        MOVED,
        name,
        title=f"{name}: {line.action} of version {line.version}",
        text=f"{line.action} by {line.who}: {line.why or 'no reason was given'}",
        facts={"action": line.action, "version": line.version, "why": line.why, "who": line.who},
    )
