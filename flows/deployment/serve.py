"""Serve all flows of some job files: `python -m flows.deployment.serve [--alone] JOB...`.

With `--alone` the Prefect server was started together with this process, so unfinished runs of its
deployments have crashed.
"""

import sys
from pathlib import Path

from prefect import serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from flows.deployment.deployments import build_deployment, plan_deployments
from flows.job.job import load_job
from flows.notifications.automations import update_automations

_ALONE = "--alone"

_CRASH_MESSAGE = (
    "The process of this run ended with `ostinato ui`; the next run continues from the finished "
    "stages."
)


def mark_crashed_runs(names: list[str]) -> int:
    """Mark the unfinished runs of these deployments as crashed, and return their number.

    A run without an end would block its deployment for ever. Only for the process that has just
    started their server: no run can be active yet.
    """
    active = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=active))
            ),
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message=_CRASH_MESSAGE), force=True)
    return len(runs)


def _serve(arguments: list[str]) -> None:
    """Serve the jobs until the process is ended."""
    paths = [Path(word) for word in arguments if word != _ALONE]
    plans = [plan for path in paths for plan in plan_deployments(path)]
    if _ALONE in arguments:
        mark_crashed_runs([plan.name for plan in plans])
    update_automations([(path, load_job(path)) for path in paths])
    serve(*map(build_deployment, plans))


if __name__ == "__main__":
    _serve(sys.argv[1:])
