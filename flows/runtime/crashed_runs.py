"""Flow runs whose process is gone: they are found, and marked as crashed.

A process that is killed cannot tell its end, and a server that serves no deployments of ours has no
automation that notices. So each run of a command has a tag with the identity of its process, by
which the next command of the job on the same machine finds it, and `ostinato doctor` all of them.
"""

from collections.abc import Iterator

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.logging import get_logger
from prefect.states import Crashed

from flows.notifications.events import OUR_TAG, list_tags
from tasks.storage.process_identity import ProcessIdentity, identify_process

_PREFIX = "process:"

_UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]

_PAGE = 200
"""Runs in one answer, which is Prefect's limit."""

_MESSAGE = (
    "Process {pid} of this run does not run any more; the next run continues from the finished "
    "stages."
)


def build_process_tag() -> str:
    """Return the tag of the runs of this process."""
    return f"{_PREFIX}{identify_process()}"


def mark_crashed_runs(name: str | None = None) -> list[str]:
    """Mark the unfinished runs of processes of this machine that have ended as crashed.

    Args:
        name: of a job or model; None for the runs of all.

    Returns:
        The names of the runs.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    tags = [OUR_TAG] if name is None else list(list_tags(name))
    with get_client(sync_client=True) as client:
        crashed = [
            (run, process) for run in _find_unfinished(client, tags) if (process := _find_dead(run))
        ]
        for run, process in crashed:
            _mark_run(client, run, process)
    return [run.name for run, _ in crashed]


def sweep_crashed_runs(name: str) -> None:
    """Mark the crashed runs of a job, and log them; a server that fails is told of elsewhere."""
    log = get_logger("ostinato")
    try:
        names = mark_crashed_runs(name)
    except httpx.HTTPError as error:
        log.warning("runs whose process has ended could not be looked for: %s", error)
        return
    for run in names:
        log.warning("run '%s' is marked as crashed: its process has ended", run)


def _find_unfinished(client: SyncPrefectClient, tags: list[str]) -> Iterator[FlowRun]:
    """Yield the runs with these tags that have no final state."""
    selected = FlowRunFilter(
        tags=FlowRunFilterTags(all_=tags),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNFINISHED)),
    )
    offset = 0
    while runs := client.read_flow_runs(flow_run_filter=selected, limit=_PAGE, offset=offset):
        yield from runs
        offset += len(runs)


def _find_dead(run: FlowRun) -> ProcessIdentity | None:
    """Return the process of a run, where it certainly does not run any more."""
    texts = (tag.removeprefix(_PREFIX) for tag in run.tags if tag.startswith(_PREFIX))
    processes = [process for text in texts if (process := ProcessIdentity.parse(text))]
    return next((process for process in processes if process.has_ended()), None)


def _mark_run(client: SyncPrefectClient, run: FlowRun, process: ProcessIdentity) -> None:
    """Mark a run and its unfinished tasks as crashed."""
    message = _MESSAGE.format(pid=process.pid)
    unfinished = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNFINISHED))
        ),
    )
    for task in unfinished:
        client.set_task_run_state(task.id, Crashed(message=message), force=True)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)
