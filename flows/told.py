"""The events by which our flows tell each other, and anybody's automations, what they found."""

from prefect.events import emit_event

DRIFT = "ostinato.drift.detected"

QUALITY = "ostinato.quality.fallen"


def resource_of(name: str) -> str:
    """Name a job in events."""
    return f"ostinato.job.{name}"


def tell(event: str, name: str, *, why: str, key: str) -> None:
    """Emit an event about a job; `key` is the same for what is the same news."""
    resource = {"prefect.resource.id": resource_of(name), "prefect.resource.name": name}
    emit_event(event, resource=resource, payload={"why": why, "key": key})
