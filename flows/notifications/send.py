"""Telling the blocks of a job what a run of it came to: short, with the figures and links.

A notification that cannot be sent is a warning, never a lost run. What went wrong is told by its
kind alone, for an error's words may hold the secret address that was called.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import cast

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from flows.job.job import Job
from flows.job.notify_config import EVENTS, Heard
from flows.notifications.blocks import block_of
from flows.notifications.events import tell
from tasks.errors import JobError
from tasks.records import Decision, Outcome
from tasks.reporting.formatting import named
from tasks.task_options import logger

HEARD: dict[Decision, Heard] = {
    "promote": "promoted",
    "keep": "kept",
    "needs-approval": "needs-approval",
    "not-comparable": "not-comparable",
}

SAYS: dict[Heard, str] = {
    "promoted": "serves from now on",
    "kept": "was not better, so the champion stays",
    "needs-approval": "waits for your approval",
    "not-comparable": "cannot be compared with the champion, which stays",
    "unchanged": "stands: data and job are unchanged",
}

MOST = 3
"""Scores that a notification tells, the gate's first; the report has all."""

PAUSES = (0.0, 2.0, 10.0)
"""Seconds before each attempt to tell a block."""

Scores = Mapping[str, float]


def tell_outcome(
    job: Job, outcome: Outcome, *, champion: Scores | None, baseline: Scores, fresh: bool
) -> list[str]:
    """Tell what a retrain run came to.

    Args:
        job: that was run.
        outcome: of the run.
        champion: its scores on the same rows, where there is one.
        baseline: the best baseline's.
        fresh: whether the run made the version; else it found that there is nothing to do.

    Returns:
        Warnings: who could not be told.
    """
    heard = HEARD[outcome.decision] if fresh else "unchanged"
    facts = {
        "version": outcome.version,
        "decision": outcome.decision,
        "reason": outcome.reason,
        "metrics": dict(outcome.metrics),
    }
    title = f"{job.name} version {outcome.version} {SAYS[heard]}"
    return spread(job, heard, title, outcome_text(outcome, champion, baseline), facts=facts)


def outcome_text(outcome: Outcome, champion: Scores | None, baseline: Scores) -> str:
    """Write why, the scores beside those of the others, and where to look."""
    beside = {"champion": champion or {}, str(outcome.baseline["name"]): baseline}
    lines = [f"{outcome.decision}: {outcome.reason}"]
    judged = sorted(outcome.metrics, key=lambda name: name not in outcome.baseline)
    for name in judged[:MOST]:
        others = [f"{who} {scores[name]:.4f}" for who, scores in beside.items() if name in scores]
        lines.append(f"{named(name)} {outcome.metrics[name]:.4f} ({', '.join(others)})")
    lines += [f"warning: {words}" for words in outcome.warnings]
    links = {name: outcome.links[name] for name in ("model version", "report") if outcome.links}
    return "\n".join([*lines, *(f"{name}: {link}" for name, link in links.items()), *run_link()])


FOUND: dict[Heard, str] = {"drift": "the data drifts", "quality": "the answers are worse"}


def tell_found(job: Job, heard: Heard, *, why: str, key: str) -> list[str]:
    """Tell what the monitor found, drift or falling quality; the same `key` is the same news."""
    text = "\n".join([f"{job.name}: {why}", *run_link()])
    return spread(job, heard, f"{job.name}: {FOUND[heard]}", text, facts={"why": why, "key": key})


def spread(
    job: Job, heard: Heard, title: str, text: str, *, facts: Mapping[str, object]
) -> list[str]:
    """Emit the event for automations, and tell every block that is to hear of it."""
    tell(EVENTS[heard], job.name, title=title, text=text, facts=facts)
    faults = [fault_of(each.block, title, text) for each in job.notify if heard in each.events]
    doubts = [f"notify: {fault}" for fault in faults if fault]
    for words in doubts:
        logger().warning("%s", words)
    return doubts


def fault_of(block: str, title: str, text: str) -> str | None:
    """Tell a block, and say what went wrong; None where nothing did."""
    error: BaseException | None = None
    for pause in PAUSES:
        time.sleep(pause)
        error = caught(tell_block, block, title, text)
        if error is None:
            return None
        if isinstance(error, JobError):
            return str(error).replace("\n", "; ")
    return (
        f"{block} could not be told ({type(error).__name__}, {len(PAUSES)} attempts); see that its "
        "address is right and answers"
    )


def caught(call: Callable[..., object], *arguments: str) -> BaseException | None:
    """Call in a thread, which takes whatever other people's code raises."""
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(copy_context().run, call, *arguments).exception()


def tell_block(block: str, title: str, text: str) -> None:
    """Notify a block, whether it is written with async or without.

    Raises:
        JobError: there is no such block, or it cannot be told.
        Exception: whatever the block raises.
    """
    with get_client(sync_client=True) as client:
        block_of(client, block, block)
    loaded = cast("NotificationBlock", Block.load(block))
    with loaded.raise_on_failure():
        waiting = loaded.notify(text, subject=title)
        if inspect.isawaitable(waiting):
            asyncio.run(finish(waiting))


async def finish(waiting: Awaitable[object]) -> None:
    """Wait for it."""
    await waiting


def run_link() -> list[str]:
    """Where this run is shown, when Prefect is a server with pages."""
    shown = flow_run.id if os.environ.get("PREFECT_API_URL") else None
    return [f"run: {url_for('flow-run', shown)}"] if shown else []
