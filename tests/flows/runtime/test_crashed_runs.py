"""Runs whose process was killed are marked as crashed by the next command of the job."""

import os
import signal
import subprocess
import sys
import time
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from flows.runtime.crashed_runs import mark_crashed_runs
from flows.runtime.run_context import run_context

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

RUN = """
import sys, time
from prefect import flow, task
from prefect.runtime import flow_run
from flows.runtime.run_context import run_context

@task
def work():
    print("at work", flow_run.id, flush=True)
    time.sleep(600)

@flow(flow_run_name=sys.argv[2])
def labour():
    work()

with run_context(sys.argv[1]):
    labour()
"""


def start_run(job: str, name: str) -> "tuple[subprocess.Popen[str], UUID]":
    """Start a run in a process of its own; return that and the run's id once it works."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, job, name],
        env=os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    while "at work" not in (line := process.stdout.readline()):
        assert process.poll() is None
    return process, UUID(line.split()[-1])


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def read_states(run: UUID) -> list[str]:
    """Return the states of a run and of its task, once the server knows of the task."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    selected = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while not (tasks := client.read_task_runs(flow_run_filter=selected)):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        states = [client.read_flow_run(run).state, *(task.state for task in tasks)]
    return [state.name for state in states if state is not None]


def test_the_next_command_of_a_job_ends_its_runs_whose_process_is_gone() -> None:
    killed, dead = start_run("waves", "dead")
    other, elsewhere = start_run("tides", "elsewhere")
    living, alive = start_run("waves", "alive")
    read_states(dead)
    kill(killed)
    kill(other)
    before = read_states(dead)[0]

    @flow
    def next_run() -> list[str]:
        return [read_states(run)[0] for run in (dead, elsewhere, alive)]

    with run_context("waves"):
        during = next_run()
    marked = mark_crashed_runs()
    kill(living)

    assert before == "Running", "nobody else notices"
    assert during == ["Crashed", "Running", "Running"]
    assert marked == ["elsewhere"]
    assert read_states(dead) == ["Crashed", "Crashed"]
    assert mark_crashed_runs("waves") == ["alive"]
    with get_client(sync_client=True) as client:
        message = client.read_flow_run(dead).state.message
    assert f"Process {killed.pid}" in message
