"""Runs whose process is gone are marked as crashed by the next command of the job."""

from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run
from prefect.states import Running

from flows.commands.doctor import Examination, end_crashed_runs, format_examination
from flows.notifications.events import list_tags
from flows.runtime.run_context import run_context
from tasks.storage.process_identity import ProcessIdentity, identify_process

pytestmark = pytest.mark.usefixtures("prefect_server")

GONE = identify_process()._replace(pid=2**22 + 1)
"""No process has this number."""

NOTHING = Examination(checked=0, bytes=0, seconds=0.0, damaged=[])

ELSEWHERE = GONE._replace(machine="0" * 12)


@flow
def labour() -> list[str]:
    """Return the tags of this run."""
    return list(flow_run.tags)


@task
def work() -> None:
    """Do nothing."""


def create_run(client: SyncPrefectClient, job: str, process: ProcessIdentity | None) -> UUID:
    """Create a run that is at work on a task, as the command of a process does."""
    tags = [*list_tags(job), *([f"process:{process}"] if process else [])]
    run = client.create_flow_run(labour, name=f"{job}-{process}", tags=tags, state=Running())
    client.create_task_run(work, run.id, "work-0", state=Running())
    return run.id


def read_states(client: SyncPrefectClient, run: UUID) -> list[str | None]:
    """Return the names of the states of a run and of its task."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    selected = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    tasks = client.read_task_runs(flow_run_filter=selected)
    states = [client.read_flow_run(run).state, *(each.state for each in tasks)]
    return [state.name for state in states if state is not None]


def test_the_next_command_of_a_job_ends_its_runs_whose_process_is_gone() -> None:
    with get_client(sync_client=True) as client:
        dead = create_run(client, "waves", GONE)
        other = create_run(client, "tides", GONE)
        kept = [create_run(client, "waves", each) for each in (identify_process(), ELSEWHERE, None)]
        before = read_states(client, dead)

        with run_context("waves"):
            tags = labour()

        assert before == ["Running", "Running"], "nobody else notices"
        assert read_states(client, dead) == ["Crashed", "Crashed"]
        assert read_states(client, other) == ["Running", "Running"]
        assert [read_states(client, run) for run in kept] == [["Running", "Running"]] * 3
        message = client.read_flow_run(dead).state.message
        assert f"Process {GONE.pid}" in message
        assert f"process:{identify_process()}" in tags

        found = end_crashed_runs(NOTHING, lambda: None)
        assert found.crashed_runs == [f"tides-{GONE}"], "of every job"
        assert f"run 'tides-{GONE}': marked as crashed" in format_examination(found)
        assert read_states(client, other) == ["Crashed", "Crashed"]
