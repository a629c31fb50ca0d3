"""The automations on the Prefect server, besides the event triggers of the deployments.

Some send to the blocks of `notify` what no run can report: that it failed or crashed, and that a
person moved an alias. Two mark runs of any job as crashed whose process is dead. An automation that
exists unchanged is not updated, so that its counters stay; one that is no longer needed is deleted.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument, StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.filters import AutomationFilter, AutomationFilterTags
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_UI_URL, get_current_settings

from flows.environment import HEARTBEAT_SECONDS
from flows.job.job import Job
from flows.job.notify_config import NotifyConfig
from flows.notifications.blocks import find_blocks
from flows.notifications.events import format_resource_id, list_tags

DEAD_RUNS, LOST_RUNS = "ostinato: dead runs", "ostinato: runs that never begin"

_MISSED_HEARTBEATS = 5
"""Missing heartbeats in a row after which a run counts as dead."""

_START_LIMIT_SECONDS = 3600.0
"""Longest time from the submission of a run to its first heartbeat: it may pull an image first."""

_REPEAT_SECONDS = 3600.0
"""Shortest time between two notifications of the same failure of the same flow."""

_DEAD_MESSAGE = (
    "The process of this run is dead: its heartbeats have stopped. The next run continues from the "
    "finished stages."
)

_LOST_MESSAGE = "The run was submitted and never started: the process that took it is dead."

_FAILURE_TITLE = (
    "{{ event.resource['prefect.resource.name'] }} {{ event.resource['prefect.state-name'] }}"
)


class _Notification(NamedTuple):
    """One notification of a block by an automation: its trigger and its templates."""

    name: str
    trigger: EventTrigger
    title: str
    text: str


def build_dead_run_automation() -> AutomationCore:
    """Build the automation that marks our runs as crashed whose heartbeats have stopped.

    It counts from the start of a run, too: the first heartbeat may be lost on its way, and a busy
    server on SQLite drops events that it could not write in four attempts.
    """
    interval_seconds = max(
        get_current_settings().flows.heartbeat_frequency or HEARTBEAT_SECONDS, HEARTBEAT_SECONDS
    )
    return _build_crash_automation(
        DEAD_RUNS,
        after={"Running", "heartbeat"},
        seconds=_MISSED_HEARTBEATS * interval_seconds,
        why=_DEAD_MESSAGE,
    )


def build_lost_run_automation() -> AutomationCore:
    """Build the automation that marks our runs as crashed that were submitted and never started.

    Their process died before its first heartbeat; they would occupy their concurrency slot.
    """
    after = {"Pending", "Submitting", "InfrastructurePending"}
    return _build_crash_automation(
        LOST_RUNS, after=after, seconds=_START_LIMIT_SECONDS, why=_LOST_MESSAGE
    )


def update_automations(jobs: Sequence[tuple[Path, Job]]) -> list[str]:
    """Update the automations of some jobs, and those for dead runs.

    Returns:
        The names of all of them.

    Raises:
        JobError: a job names a block that does not exist or cannot notify; nothing is changed.
    """
    with get_client(sync_client=True) as client:
        known = {job.name: find_blocks(client, path, job) for path, job in jobs}
        wanted = [build_dead_run_automation(), build_lost_run_automation()]
        sync_automations(client, wanted, tag=DEAD_RUNS)
        for _, job in jobs:
            automations = list(_build_automations(job, known[job.name]))
            sync_automations(client, automations, tag=format_resource_id(job.name))
            wanted += automations
    return [each.name for each in wanted]


def sync_automations(
    client: SyncPrefectClient, wanted: Sequence[AutomationCore], *, tag: str
) -> None:
    """Create, update and delete automations with this tag until exactly the wanted ones exist."""
    existing = find_automations(client, tag)
    for each in wanted:
        found = existing.pop(each.name, None)
        if found is None:
            client.create_automation(each)
        elif not is_same(found, each):
            # Keep it disabled where a person has disabled it in the UI.
            client.update_automation(found.id, each.model_copy(update={"enabled": found.enabled}))
    for obsolete in existing.values():
        client.delete_automation(obsolete.id)


def find_automations(client: SyncPrefectClient, tag: str) -> dict[str, Automation]:
    """Return the automations with a tag, by name."""
    with_tag = AutomationFilter(tags=AutomationFilterTags(all_=[tag]))
    return {each.name: each for each in client.read_automations(automations=with_tag)}


def is_same(found: AutomationCore, wanted: AutomationCore) -> bool:
    """Check whether the server's automation equals the wanted one, enabled or not."""
    mine = wanted.model_dump(mode="json", exclude={"enabled"})
    own = found.model_dump(mode="json", include=set(mine))
    return all(_contains(own[name], value) for name, value in mine.items())


def _list_notifications(name: str, config: NotifyConfig) -> Iterator[_Notification]:
    """List the notifications of a block that no run can send."""
    if alias_events := config.select_event_names("alias-moved"):
        trigger = _build_event_trigger(format_resource_id(name), alias_events)
        templates = ("{{ event.payload.title }}", "{{ event.payload.text }}")
        yield _Notification(
            f"{name}: {config.block} is notified of alias moves", trigger, *templates
        )
    if failure_events := config.select_event_names("failed", "crashed"):
        trigger = _build_failure_trigger(name, failure_events)
        yield _Notification(
            f"{name}: {config.block} is notified of failures",
            trigger,
            _FAILURE_TITLE,
            _format_failure_text(),
        )


def _format_failure_text() -> str:
    """Return the message template of a failed run: the state's message and a link to the run."""
    message, ui_url = "{{ event.resource['prefect.state-message'] }}", PREFECT_UI_URL.value()
    return f"{message}\nrun: {ui_url}/runs/flow-run/{{{{ flow_run.id }}}}" if ui_url else message


def _build_automations(job: Job, blocks: dict[str, BlockDocument]) -> Iterator[AutomationCore]:
    """Build the automations that send the notifications of a job."""
    for config in job.notify:
        for notification in _list_notifications(job.name, config):
            action = SendNotification(
                block_document_id=blocks[config.block].id,
                subject=notification.title,
                body=notification.text,
            )
            yield AutomationCore(
                name=notification.name,
                description=f"Notifies {config.block} about {job.name}.",
                tags=["ostinato", format_resource_id(job.name)],
                trigger=notification.trigger,
                actions=[action],
            )


def _build_event_trigger(resource: str, expected: set[str]) -> EventTrigger:
    """Build a trigger that fires at each of these events of a job."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": resource}),
        expect=expected,
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _build_failure_trigger(name: str, expected: set[str]) -> EventTrigger:
    """Build a trigger that fires when a run of a job fails, once an hour for the same failure."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=_match_tag(list_tags(name)[1]),
        for_each={"related:flow:prefect.resource.id", "prefect.state-message"},
        expect=expected,
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(seconds=_REPEAT_SECONDS),
    )


def _build_crash_automation(
    name: str, *, after: set[str], seconds: float, why: str
) -> AutomationCore:
    """Build an automation that marks our runs as crashed.

    Args:
        name: name of the automation.
        after: the last events of such a run.
        seconds: time without a further event.
        why: message of the crashed state.
    """
    return AutomationCore(
        name=name,
        description="Marks runs of Ostinato as crashed when their process has died.",
        tags=["ostinato", DEAD_RUNS],
        trigger=EventTrigger(
            after={f"prefect.flow-run.{each}" for each in after},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_match_tag(list_tags("")[0]),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=why, force=False)
        ],
    )


def _match_tag(tag: str) -> ResourceSpecification:
    """Match the resources with this tag."""
    return ResourceSpecification({"prefect.resource.id": f"prefect.tag.{tag}"})


def _contains(found: object, wanted: object) -> bool:
    """Compare values; the server adds ids of its own, and returns sets in any order."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and _contains(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(sorted(found, key=str), sorted(wanted, key=str), strict=False)
        return len(found) == len(wanted) and all(_contains(one, other) for one, other in pairs)
    return found == wanted
