"""Send the result of a run to the notification blocks of its job, with metrics and links.

A notification that cannot be sent is a warning and never fails the run. The warning names only the
type of the error, because an error's message may contain the secret address that was called.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Mapping
from typing import cast

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from flows.job.job import Job
from flows.job.notify_config import EVENT_NAMES, NotifyEvent
from flows.notifications.blocks import find_block
from flows.notifications.events import emit_job_event
from tasks.errors import JobError
from tasks.gate_record import Decision
from tasks.records import Outcome
from tasks.reporting.formatting import format_metric_name
from tasks.task_options import logger

_EVENT_OF_DECISION: dict[Decision, NotifyEvent] = {
    "promote": "promoted",
    "keep": "kept",
    "needs-approval": "needs-approval",
    "not-comparable": "not-comparable",
}

_OUTCOME_PHRASES: dict[NotifyEvent, str] = {
    "promoted": "serves from now on",
    "kept": "was not better, so the champion stays",
    "needs-approval": "waits for your approval",
    "not-comparable": "cannot be compared with the champion, which stays",
    "unchanged": "remains, because data and job are unchanged",
}

_BASELINE_PHRASE = "was not better than a baseline"

_MAX_METRICS = 3
"""Metrics in a notification, the gate's first; the report has all of them."""

_RETRY_SECONDS = (0.0, 2.0, 10.0)
"""Seconds to wait before each attempt to send."""

_FINDING_PHRASES: dict[NotifyEvent, str] = {
    "drift": "the data has drifted",
    "performance": "the champion's performance has dropped",
}

Scores = Mapping[str, float]


def notify_outcome(
    job: Job,
    outcome: Outcome,
    *,
    champion: Scores | None,
    baseline: Scores,
    fresh: bool,
    rows_note: str | None = None,
) -> list[str]:
    """Notify of the outcome of a retrain run.

    Args:
        job: the job that was run.
        outcome: what the run resulted in.
        champion: the champion's metrics, where there is a champion.
        baseline: metrics of the best baseline.
        fresh: whether the run registered the version; False where there was nothing to do.
        rows_note: which of these metrics are of fewer rows than the others, if any.

    Returns:
        A warning for each block that could not be notified.
    """
    kind = _EVENT_OF_DECISION[outcome.decision] if fresh else "unchanged"
    facts = {
        "version": outcome.version,
        "decision": outcome.decision,
        "reason": outcome.reason,
        "metrics": dict(outcome.metrics),
        "serving_version": outcome.serving_version,
    }
    phrase = _OUTCOME_PHRASES[kind]
    if kind == "kept" and outcome.serving:
        phrase = _BASELINE_PHRASE
    title = f"{job.name} version {outcome.version} {phrase}"
    text = _format_outcome(outcome, champion, baseline, rows_note)
    return _notify(job, kind, title, text, facts=facts)


def notify_finding(job: Job, kind: NotifyEvent, *, reason: str, key: str) -> list[str]:
    """Notify of drift or of a performance drop; events with the same `key` start one run only."""
    text = "\n".join([f"{job.name}: {reason}", *_format_run_link()])
    facts = {"reason": reason, "key": key}
    return _notify(job, kind, f"{job.name}: {_FINDING_PHRASES[kind]}", text, facts=facts)


def _format_outcome(
    outcome: Outcome, champion: Scores | None, baseline: Scores, rows_note: str | None
) -> str:
    """Format the decision, the metrics with those of champion and baseline, and the links."""
    others = {"champion": champion or {}, str(outcome.baseline["name"]): baseline}
    lines = [f"{outcome.decision}: {outcome.reason}"]
    lines += [f"serving: {outcome.serving}"] if outcome.serving else []
    gate_first = sorted(outcome.metrics, key=lambda metric: metric not in outcome.baseline)
    for metric in gate_first[:_MAX_METRICS]:
        scores = ", ".join(
            f"{name} {values[metric]:.4f}" for name, values in others.items() if metric in values
        )
        lines.append(f"{format_metric_name(metric)} {outcome.metrics[metric]:.4f} ({scores})")
    lines += [rows_note] if rows_note else []
    lines += [f"warning: {warning}" for warning in outcome.warnings]
    shown = ("model version", "report") if outcome.links else ()
    lines += [f"{name}: {outcome.links[name]}" for name in shown]
    return "\n".join([*lines, *_format_run_link()])


def _notify(
    job: Job, kind: NotifyEvent, title: str, text: str, *, facts: Mapping[str, object]
) -> list[str]:
    """Emit the event, send it to every block that is configured for it, and return warnings."""
    emit_job_event(EVENT_NAMES[kind], job.name, title=title, text=text, facts=facts)
    blocks = [each.block for each in job.notify if kind in each.events]
    errors = [_send_with_retries(block, title, text) for block in blocks]
    warnings = [f"notify: {error}" for error in errors if error]
    for warning in warnings:
        logger().warning("%s", warning)
    return warnings


def _send_with_retries(block: str, title: str, text: str) -> str | None:
    """Send to a block; return what went wrong, or None."""
    error_type = ""
    for pause in _RETRY_SECONDS:
        time.sleep(pause)
        try:
            _send_to_block(block, title, text)
        except JobError as error:
            return str(error).replace("\n", "; ")
        # A block is other people's code and may raise anything. The run is finished by now, and a
        # notification after the fact never fails it.
        except Exception as error:  # noqa: BLE001
            error_type = type(error).__name__
        else:
            return None
    return (
        f"{block} could not be notified ({error_type}, {len(_RETRY_SECONDS)} attempts); check that "
        "its address is right and responds"
    )


def _send_to_block(block: str, title: str, text: str) -> None:
    """Call a block, whether its `notify` is a coroutine or not.

    Raises:
        JobError: the block does not exist, or cannot notify.
        Exception: whatever the block raises.
    """
    with get_client(sync_client=True) as client:
        find_block(client, block, block)
    loaded = cast("NotificationBlock", Block.load(block))
    with loaded.raise_on_failure():
        result = loaded.notify(text, subject=title)
        if inspect.isawaitable(result):
            asyncio.run(_await(result))


async def _await(result: Awaitable[object]) -> None:
    """Await any awaitable; `asyncio.run` takes coroutines only."""
    await result


def _format_run_link() -> list[str]:
    """Return a line with the address of this run, where Prefect is a server with pages."""
    run_id = flow_run.id if os.environ.get("PREFECT_API_URL") else None
    return [f"run: {url_for('flow-run', run_id)}"] if run_id else []
