"""Serve retrain, tune and rollback for some job files: `python -m flows.serve JOB...`."""

import sys
from pathlib import Path
from typing import cast

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.job import load_job
from flows.retrain import retrain
from flows.rollback import rollback
from flows.tune import tune


def deployment_of(path: Path) -> RunnerDeployment:
    """Describe the deployment that retrains a job: its parameters and its schedule."""
    job = load_job(path)
    schedule = Cron(job.schedule.cron, timezone=job.schedule.timezone) if job.schedule else None
    deployment = retrain.to_deployment(
        name=job.name,
        parameters={"job_file": str(path), "overrides": {}},
        schedule=schedule,
        tags=["ostinato", job.layout.input.kind, job.target.kind],
        description=f"Retrain {job.name} from {job.source.uri}.",
        entrypoint_type=EntrypointType.MODULE_PATH,
        concurrency_limit=1,
    )
    return cast("RunnerDeployment", deployment)


def search_of(path: Path) -> RunnerDeployment:
    """Describe the deployment that searches for better settings of a job, when it is asked to."""
    job = load_job(path)
    deployment = tune.to_deployment(
        name=job.name,
        parameters={"job_file": str(path), "overrides": {}},
        tags=["ostinato", job.layout.input.kind, job.target.kind],
        description=f"Search for better settings of {job.name}.",
        entrypoint_type=EntrypointType.MODULE_PATH,
        concurrency_limit=1,
    )
    return cast("RunnerDeployment", deployment)


def rollback_of(path: Path) -> RunnerDeployment:
    """Describe the deployment that lets the previous version of a job's model serve again."""
    job = load_job(path)
    deployment = rollback.to_deployment(
        name=job.name,
        parameters={"name": job.name},
        tags=["ostinato", job.layout.input.kind, job.target.kind],
        description=f"Let the version of {job.name} serve again that served before.",
        entrypoint_type=EntrypointType.MODULE_PATH,
        concurrency_limit=1,
    )
    return cast("RunnerDeployment", deployment)


def main(paths: list[str]) -> None:
    """Serve until the process is ended."""
    served = [Path(path) for path in paths]
    serve(*(describe(path) for describe in SERVED for path in served))


SERVED = (deployment_of, search_of, rollback_of)


if __name__ == "__main__":
    main(sys.argv[1:])
