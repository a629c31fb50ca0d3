"""The automations that the Prefect server holds for us beside those of the deployments.

Some tell the blocks of `notify` what no run can tell: that it failed or crashed, and that a person
moved the aliases. Two end runs of any job whose process is dead. What is there already is
left as it is, so that what it has counted stays; what is no longer wanted goes.
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

from flows.environment import BEAT_SECONDS
from flows.job.job import Job
from flows.job.notify_config import NotifyConfig
from flows.notifications.blocks import blocks_of
from flows.notifications.events import resource_of, tags_of

DEAD_RUNS, LOST_RUNS = "ostinato: dead runs", "ostinato: runs that never begin"

BEATS = 5
"""Heartbeats in a row that stay away until a run counts as dead."""

BEGIN_SECONDS = 3600.0
"""Longest time from taking a run to its first heartbeat: images may have to be fetched."""

SAME_SECONDS = 3600.0
"""Rest until the same failure of the same flow is told again."""

GONE = (
    "The process that ran it is dead: its heartbeats have stopped. The next run goes on from what "
    "was finished."
)

NEVER = "It was taken and never began: the process that took it is dead."

CALLED = "{{ event.resource['prefect.resource.name'] }} {{ event.resource['prefect.state-name'] }}"


class Notice(NamedTuple):
    """How a block hears of a job: by an automation of this name, in these words."""

    name: str
    trigger: EventTrigger
    title: str
    text: str


def notices_of(name: str, told: NotifyConfig) -> Iterator[Notice]:
    """Describe how a block hears of what no run tells."""
    if moves := told.hears("moved"):
        trigger = event_trigger(resource_of(name), moves)
        news = ("{{ event.payload.title }}", "{{ event.payload.text }}")
        yield Notice(f"{name}: {told.block} hears of moves", trigger, *news)
    if ends := told.hears("failed", "crashed"):
        trigger = end_trigger(name, ends)
        yield Notice(f"{name}: {told.block} hears of failures", trigger, CALLED, ended())


def ended() -> str:
    """Write what is told of a run that ended badly: why, and where it is shown."""
    why, pages = "{{ event.resource['prefect.state-message'] }}", PREFECT_UI_URL.value()
    return f"{why}\nrun: {pages}/runs/flow-run/{{{{ flow_run.id }}}}" if pages else why


def automations_of(job: Job, blocks: dict[str, BlockDocument]) -> Iterator[AutomationCore]:
    """Describe the automations that tell of a job."""
    for told in job.notify:
        for notice in notices_of(job.name, told):
            action = SendNotification(
                block_document_id=blocks[told.block].id, subject=notice.title, body=notice.text
            )
            yield AutomationCore(
                name=notice.name,
                description=f"Tells {told.block} what becomes of {job.name}.",
                tags=["ostinato", resource_of(job.name)],
                trigger=notice.trigger,
                actions=[action],
            )


def event_trigger(resource: str, expected: set[str]) -> EventTrigger:
    """Fire at every event of ours about a job."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": resource}),
        expect=expected,
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def end_trigger(name: str, expected: set[str]) -> EventTrigger:
    """Fire when a run of a job's flows ends badly, but rest after the same end of the same flow."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=tagged(tags_of(name)[1]),
        for_each={"related:flow:prefect.resource.id", "prefect.state-message"},
        expect=expected,
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(seconds=SAME_SECONDS),
    )


def dead_runs() -> AutomationCore:
    """Describe the automation that ends our runs whose heartbeats have stopped.

    It counts from the beginning of a run, too: the first heartbeat may be lost on its way, and a
    busy server on SQLite drops events that it could not write four times.
    """
    beat = max(get_current_settings().flows.heartbeat_frequency or BEAT_SECONDS, BEAT_SECONDS)
    return ending(DEAD_RUNS, after={"Running", "heartbeat"}, seconds=BEATS * beat, why=GONE)


def lost_runs() -> AutomationCore:
    """Describe the automation that ends our runs that were taken and never began.

    Their process died before its first heartbeat; they would hold their place for ever.
    """
    after = {"Pending", "Submitting", "InfrastructurePending"}
    return ending(LOST_RUNS, after=after, seconds=BEGIN_SECONDS, why=NEVER)


def ending(name: str, *, after: set[str], seconds: float, why: str) -> AutomationCore:
    """Describe an automation that marks runs of ours as crashed.

    Args:
        name: of the automation.
        after: the last that was heard of them.
        seconds: for which nothing was heard since.
        why: what the run's page says.
    """
    return AutomationCore(
        name=name,
        description="Marks runs of Ostinato as crashed when their process has died.",
        tags=["ostinato", DEAD_RUNS],
        trigger=EventTrigger(
            after={f"prefect.flow-run.{each}" for each in after},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=tagged(tags_of("")[0]),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=why, force=False)
        ],
    )


def tagged(tag: str) -> ResourceSpecification:
    """Match what has this tag."""
    return ResourceSpecification({"prefect.resource.id": f"prefect.tag.{tag}"})


def settle_automations(jobs: Sequence[tuple[Path, Job]]) -> list[str]:
    """Bring the automations of some jobs, and that for dead runs, up to date.

    Returns:
        The names of those that there are now.

    Raises:
        JobError: a job tells a block that there is not, or that cannot be told; nothing is changed.
    """
    with get_client(sync_client=True) as client:
        known = {job.name: blocks_of(client, path, job) for path, job in jobs}
        wanted = [dead_runs(), lost_runs()]
        settle(client, wanted, tag=DEAD_RUNS)
        for _, job in jobs:
            notices = list(automations_of(job, known[job.name]))
            settle(client, notices, tag=resource_of(job.name))
            wanted += notices
    return [each.name for each in wanted]


def settle(client: SyncPrefectClient, wanted: Sequence[AutomationCore], *, tag: str) -> None:
    """Make, mend and remove automations of this tag, until those that are wanted are there."""
    there = found_by(client, tag)
    for each in wanted:
        found = there.pop(each.name, None)
        if found is None:
            client.create_automation(each)
        elif not is_same(found, each):
            # Who has switched it off on the page wants it off.
            client.update_automation(found.id, each.model_copy(update={"enabled": found.enabled}))
    for left in there.values():
        client.delete_automation(left.id)


def found_by(client: SyncPrefectClient, tag: str) -> dict[str, Automation]:
    """Find the automations of a tag, by name."""
    listed = AutomationFilter(tags=AutomationFilterTags(all_=[tag]))
    return {each.name: each for each in client.read_automations(automations=listed)}


def is_same(found: AutomationCore, wanted: AutomationCore) -> bool:
    """Tell whether the server's automation does what is wanted."""
    mine = wanted.model_dump(mode="json", exclude={"enabled"})
    own = found.model_dump(mode="json", include=set(mine))
    return all(covers(own[name], value) for name, value in mine.items())


def covers(found: object, wanted: object) -> bool:
    """Compare values; the server adds ids of its own, and keeps sets in any order."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and covers(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(sorted(found, key=str), sorted(wanted, key=str), strict=False)
        return len(found) == len(wanted) and all(covers(one, other) for one, other in pairs)
    return found == wanted
