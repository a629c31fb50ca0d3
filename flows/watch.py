"""Watch: find a reason to retrain, and start a run if the limits of the job allow it.

It polls the source by itself. An event of `monitor` starts it too, with the reason as a parameter.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, cast

from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.states import Completed
from pydantic import Field

from flows.environment import configure_run
from flows.job.form import JobFile
from flows.job.job import load_job
from flows.runtime.run_names import build_run_name
from tasks.task_options import logger
from tasks.triggers.limits import PreviousRun, TriggersConfig, find_blocking_reason
from tasks.triggers.new_data import check_for_new_data

_KEY_PREFIX = "ostinato"

Reason = Annotated[str, Field(max_length=500)]


@flow(name="watch", flow_run_name=build_run_name("watch"), persist_result=False)
def watch(job_file: JobFile, reason: Reason = "", key: Reason = "") -> State[None]:
    """Start a retrain run if there is a reason and the job's limits allow it.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
        reason: Why to retrain; when empty, the source is checked for new data.
        key: Identifies the reason: the same key starts one run only.
    """
    configure_run()
    job = load_job(Path(job_file))
    triggers = job.triggers or TriggersConfig(new_data=600.0)
    previous_runs = _list_previous_runs(job.name)
    if not reason:
        status = check_for_new_data(job.name, job.source, job.store)
        key, reason = f"data-{status.key}", status.change or ""
    if not reason:
        return complete_with_message(
            f"{job.name}: nothing has changed since the last run; no run is started"
        )
    if refusal := find_blocking_reason(key, previous_runs, datetime.now(UTC), triggers):
        return complete_with_message(f"{job.name}: no run is started: {refusal} (reason: {reason})")
    attempt = sum(run.key == key for run in previous_runs) + 1
    started = _start_retrain(job.name, job_file, key=key, attempt=attempt)
    return complete_with_message(f"{job.name}: run '{started.name}' is started: {reason}")


def complete_with_message(message: str) -> State[None]:
    """End the flow run as completed, with a message that Prefect shows with the state."""
    logger().info("%s", message)
    return Completed(message=message)


def _list_previous_runs(name: str) -> list[PreviousRun]:
    """List the retrain runs of a job that have started or are due, newest first (200 at most)."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=200,
        )
    soon = datetime.now(UTC) + timedelta(seconds=60)
    return [
        _read_previous_run(run) for run in runs if run.start_time or _find_start_time(run) < soon
    ]


def _find_start_time(run: FlowRun) -> datetime:
    """Return when a run started, else when it is expected to."""
    when = run.start_time or run.expected_start_time or run.created
    assert when is not None  # noqa: S101 - the server sets at least one
    return when


def _read_previous_run(run: FlowRun) -> PreviousRun:
    """Read the facts that the limits need; an automatic run has its key in the idempotency key."""
    mark, _, rest = (run.idempotency_key or "").partition(":")
    key = rest.rpartition(":")[0] if mark == _KEY_PREFIX else None
    return PreviousRun(
        key, _find_start_time(run), run.state_type.value if run.state_type else "UNKNOWN"
    )


def _start_retrain(name: str, job_file: str, *, key: str, attempt: int) -> FlowRun:
    """Start a retrain run; requests with the same key and attempt get the same run."""
    flow_run = run_deployment(
        f"retrain/{name}",
        parameters={"job_file": job_file},
        timeout=0,
        as_subflow=False,
        tags=["automatic", key.partition("-")[0]],
        idempotency_key=f"{_KEY_PREFIX}:{key}:{attempt}",
    )
    return cast("FlowRun", flow_run)
