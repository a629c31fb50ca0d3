"""Who is told what becomes of a job: a block of the Prefect server, and what it is told of.

A run reports its own outcome (`flows.notifications.send`). What no run can report -- that it is
dead, or that a person moved the aliases -- automations of the server do.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

Heard = Literal[
    "promoted",
    "kept",
    "needs-approval",
    "not-comparable",
    "unchanged",
    "drift",
    "quality",
    "moved",
    "failed",
    "crashed",
]

EVENTS: dict[Heard, str] = {
    "promoted": "ostinato.model.promoted",
    "kept": "ostinato.model.kept",
    "needs-approval": "ostinato.model.needs-approval",
    "not-comparable": "ostinato.model.not-comparable",
    "unchanged": "ostinato.model.unchanged",
    "drift": "ostinato.drift.detected",
    "quality": "ostinato.quality.fallen",
    "moved": "ostinato.model.moved",
    "failed": "prefect.flow-run.Failed",
    "crashed": "prefect.flow-run.Crashed",
}
"""The event by which each becomes known."""

BLOCK = r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifyConfig:
    """A block that is told what becomes of the job."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    block: str
    """Notification block of the Prefect server, as TYPE/NAME, such as slack-webhook/team. Its
    address and password stay there; `prefect block ls` lists the blocks that there are."""
    events: tuple[Heard, ...] = (
        "promoted",
        "needs-approval",
        "not-comparable",
        "drift",
        "quality",
        "moved",
        "failed",
        "crashed",
    )
    """What it is told of. promoted, kept, needs-approval, not-comparable: what a run came to, or
    unchanged, where there was nothing to do. drift: the data is not what it was; quality: the
    champion's answers are not. moved: a person changed who serves. failed: a flow of the job
    ended with an error; crashed: its process died
    (the same of a flow once an hour). The last three are told by the Prefect server, once the job
    is served by `ostinato ui` or deployed."""

    def __post_init__(self) -> None:
        """Refuse what is no block, and what would never be told."""
        if not re.fullmatch(BLOCK, self.block):
            raise ValueError(
                f"block: '{self.block}' is not TYPE/NAME; write it as `prefect block ls` does, "
                "such as slack-webhook/team"
            )
        if not self.events:
            raise ValueError(f"when: nothing is told; choose of {', '.join(get_args(Heard))}")

    def hears(self, *kinds: Heard) -> set[str]:
        """Name the events of these kinds that it is told of."""
        return {EVENTS[kind] for kind in kinds if kind in self.events}


def refuse_twice(told: tuple[NotifyConfig, ...]) -> None:
    """Refuse a block that stands twice.

    Raises:
        ValueError: names it.
    """
    blocks = [each.block for each in told]
    if twice := [block for n, block in enumerate(blocks) if block in blocks[:n]]:
        raise ValueError(f"notify: '{twice[0]}' stands twice; put all under one `when`")
