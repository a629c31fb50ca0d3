"""The `notify` section of a job: a notification block of the Prefect server and its events.

A run reports its own outcome (`flows.notifications.send`). What no run can report -- that it has
crashed, or that a person moved an alias -- is reported by automations of the server.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

NotifyEvent = Literal[
    "promoted",
    "kept",
    "needs-approval",
    "not-comparable",
    "unchanged",
    "drift",
    "performance",
    "alias-moved",
    "failed",
    "crashed",
]

EVENT_NAMES: dict[NotifyEvent, str] = {
    "promoted": "ostinato.model.promoted",
    "kept": "ostinato.model.kept",
    "needs-approval": "ostinato.model.needs-approval",
    "not-comparable": "ostinato.model.not-comparable",
    "unchanged": "ostinato.model.unchanged",
    "drift": "ostinato.drift.detected",
    "performance": "ostinato.performance.dropped",
    "alias-moved": "ostinato.model.alias-moved",
    "failed": "prefect.flow-run.Failed",
    "crashed": "prefect.flow-run.Crashed",
}
"""The Prefect event behind each kind."""

_BLOCK_PATTERN = r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifyConfig:
    """A notification block, and the events that are sent to it."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    block: str
    """Notification block of the Prefect server, as TYPE/NAME, such as slack-webhook/team. Its
    address and password stay there; `prefect block ls` lists the blocks that there are."""
    events: tuple[NotifyEvent, ...] = (
        "promoted",
        "needs-approval",
        "not-comparable",
        "drift",
        "performance",
        "alias-moved",
        "failed",
        "crashed",
    )
    """What is sent. promoted, kept, needs-approval, not-comparable: the decision of a run, or
    unchanged, where there was nothing to do. drift: the data has drifted; performance: the
    champion's performance has dropped. alias-moved: a person moved an alias. failed: a flow of the
    job ended with an error; crashed: its process died (the same of a flow once an hour). The last
    three are sent by the Prefect server, once the job is served by `ostinato ui` or deployed."""

    def __post_init__(self) -> None:
        """Check that the block is TYPE/NAME and that there is an event to send."""
        if not re.fullmatch(_BLOCK_PATTERN, self.block):
            raise ValueError(
                f"block: '{self.block}' is not TYPE/NAME; write it as `prefect block ls` does, "
                "such as slack-webhook/team"
            )
        if not self.events:
            known = ", ".join(get_args(NotifyEvent))
            raise ValueError(f"events: the list is empty; choose of {known}")

    def select_event_names(self, *kinds: NotifyEvent) -> set[str]:
        """Return the Prefect events of those of the kinds that are configured."""
        return {EVENT_NAMES[kind] for kind in kinds if kind in self.events}


def check_unique_blocks(configs: tuple[NotifyConfig, ...]) -> None:
    """Check that no block is configured twice.

    Raises:
        ValueError: names the block.
    """
    blocks = [each.block for each in configs]
    if twice := [block for n, block in enumerate(blocks) if block in blocks[:n]]:
        raise ValueError(
            f"notify: '{twice[0]}' is configured twice; list all its events in one entry"
        )
