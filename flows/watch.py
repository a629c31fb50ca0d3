"""Watch: look for a reason to retrain, and start a run if the brakes allow it.

The same flow answers what others have found: the drift monitor's event starts it with the reason.
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

from flows.environment import settle_run
from flows.job.form import JobFile
from flows.job.job import load_job
from flows.runtime.run_names import named
from tasks.task_options import logger
from tasks.triggers.limits import Past, TriggersConfig, hold_back
from tasks.triggers.new_data import look_at_source

MARK = "ostinato"

Reason = Annotated[str, Field(max_length=500)]


@flow(name="watch", flow_run_name=named("watch"), persist_result=False)
def watch(job_file: JobFile, because: Reason = "", key: Reason = "") -> State[None]:
    """Start a retrain run if there is a reason and the job's brakes allow it.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
        because: The reason that another has found; when empty, one looks for new data.
        key: What tells this reason from the next of its kind; the same is answered once.
    """
    settle_run()
    job = load_job(Path(job_file))
    triggers = job.triggers or TriggersConfig(new_data=600.0)
    past = past_runs(job.name)
    if not because:
        sight = look_at_source(job.name, job.source, job.store)
        key, because = f"data-{sight.key}", sight.news or ""
    if not because:
        return said(f"{job.name}: nothing has changed since the last run, so none is started")
    if held := hold_back(key, past, datetime.now(UTC), triggers):
        return said(f"{job.name}: no run is started: {held} (reason: {because})")
    attempt = sum(run.key == key for run in past) + 1
    started = start(job.name, job_file, key=key, attempt=attempt)
    return said(f"{job.name}: run '{started.name}' is started: {because}")


def said(words: str) -> State[None]:
    """End the run with words that the page shows beside its state."""
    logger().info("%s", words)
    return Completed(message=words)


def past_runs(name: str) -> list[Past]:
    """List the job's retrain runs that have begun or should have, newest first."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=200,
        )
    soon = datetime.now(UTC) + timedelta(seconds=60)
    return [past_of(run) for run in runs if run.start_time or due(run) < soon]


def due(run: FlowRun) -> datetime:
    """Tell when a run began, or should."""
    when = run.start_time or run.expected_start_time or run.created
    assert when is not None  # noqa: S101 - the server tells at least one
    return when


def past_of(run: FlowRun) -> Past:
    """Read what the brakes look at; a run that started by itself tells what it answers."""
    mark, _, rest = (run.idempotency_key or "").partition(":")
    key = rest.rpartition(":")[0] if mark == MARK else None
    return Past(key, due(run), run.state_type.value if run.state_type else "UNKNOWN")


def start(name: str, job_file: str, *, key: str, attempt: int) -> FlowRun:
    """Ask for a run; the server gives the same one to everybody who asks with the same key."""
    asked = run_deployment(
        f"retrain/{name}",
        parameters={"job_file": job_file},
        timeout=0,
        as_subflow=False,
        tags=["automatic", key.partition("-")[0]],
        idempotency_key=f"{MARK}:{key}:{attempt}",
    )
    return cast("FlowRun", asked)
