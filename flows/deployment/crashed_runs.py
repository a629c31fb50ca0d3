"""Runs whose process is gone: nobody else ends them, and their deployment would wait for ever."""

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

GONE = "The process that ran it ended with the pages; the next run goes on from what was finished."


def sweep(names: list[str]) -> int:
    """Mark what these deployments left at work as crashed; how many runs that were.

    Only for whoever starts the server of these deployments: there, nothing can be at work yet.
    """
    at_work = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=at_work))
            ),
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message=GONE), force=True)
    return len(runs)
