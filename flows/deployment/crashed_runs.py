"""Runs whose process is gone: without an end, they would block their deployment for ever."""

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

_MESSAGE = (
    "The process of this run ended with `ostinato ui`; the next run continues from the finished "
    "stages."
)


def mark_crashed_runs(names: list[str]) -> int:
    """Mark the unfinished runs of these deployments as crashed, and return their number.

    Only for the process that has just started their server: no run can be active yet.
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
            client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)
    return len(runs)
