"""Deploy the flows of some jobs to a work pool, whose workers run them."""

from collections.abc import Sequence
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from flows.deployment.deployments import build_deployment, plan_deployments
from flows.job.job import load_job
from flows.notifications.automations import update_automations


def deploy(paths: Sequence[Path], pool: str) -> list[str]:
    """Deploy every flow of every job, and update existing deployments.

    Returns:
        The names of the deployments.

    Raises:
        JobError: a job file is not valid, or names a block that does not exist; nothing is
            deployed then.
    """
    plans = [plan for path in paths for plan in plan_deployments(path)]
    update_automations([(path, load_job(path)) for path in paths])
    _create_work_pool(pool)
    for plan in plans:
        build_deployment(plan, pool=pool).apply()
    return [f"{plan.flow}/{plan.name}" for plan in plans]


def _create_work_pool(name: str) -> bool:
    """Create the work pool if it does not exist; return whether it was created."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            return True
    return False
