"""Deploy: hand the flows of some jobs to a work pool, from which workers take their runs."""

from collections.abc import Sequence
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from flows.deployment.deployments import deployment_of, plans_of
from flows.job.job import load_job
from flows.notifications.automations import settle_automations


def open_pool(name: str) -> bool:
    """Make the work pool where there is none; whether it had to be made."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            return True
    return False


def deploy(paths: Sequence[Path], pool: str) -> list[str]:
    """Deploy every flow of every job; a deployment that is there is brought up to date.

    Returns:
        The names of the deployments.

    Raises:
        JobError: a job file is not valid, or tells a block that there is not; nothing is deployed
            then.
    """
    plans = [made for path in paths for made in plans_of(path)]
    settle_automations([(path, load_job(path)) for path in paths])
    open_pool(pool)
    for made in plans:
        deployment_of(made, pool=pool).apply()
    return [f"{made.flow}/{made.name}" for made in plans]
