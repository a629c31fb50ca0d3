"""What is deployed for a job: its flows, when each runs, and what happens when runs meet.

`ostinato ui` serves the same plans that `ostinato deploy` and `deployments/prefect.yaml` give to a
work pool. A flow that is to be deployed is one line in `plans_of`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from flows.environment import ALIVE, PATIENT, QUIET
from flows.job.job import Job, load_job
from flows.notifications.events import DRIFT, QUALITY, resource_of, tags_of
from tasks.triggers.schedule import ScheduleConfig

POOL = "ostinato"

HEAD = """\
# Deployed from the folder where the paths of the jobs start:
#   prefect work-pool create {pool} --type process
#   prefect --no-prompt deploy --all --prefect-file {path}
#   prefect worker start --pool {pool} --limit 1
# Written by `ostinato deploy --write {path} JOB...`; edit the jobs, and write it again.
# `ostinato deploy JOB...` makes the same, and what this file cannot say: the automations that
# tell the blocks of `notify`, and that end runs whose process is dead.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One deployment."""

    flow: str
    """Of this name, in the module of this name."""
    job: str
    name: str
    """Of the deployment: the job's own, where the flow is deployed once."""
    job_file: str
    about: str
    tags: tuple[str, ...]
    schedule: ScheduleConfig | None = None
    meet: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    """What becomes of a run that meets one at work: it waits, or it is left out."""
    every: float | None = None
    """Seconds from one run to the next, where there is no schedule."""
    answers: str | None = None
    """The event of this job that starts it; the event says why, and by what key."""

    @property
    def entrypoint(self) -> str:
        """Where the flow is, as Prefect writes it."""
        return f"flows.{self.flow}.{self.flow}"

    @property
    def parameters(self) -> dict[str, str]:
        """What the flow is given: its job file, or the model's name where it knows no job."""
        return {"name": self.job} if self.flow == "rollback" else {"job_file": self.job_file}


def plans_of(path: Path) -> Iterator[Plan]:
    """Give the deployments of a job.

    Raises:
        JobError: the job file is not valid.
    """
    job = load_job(path)
    yield plan(
        "retrain", path, job, about=f"Retrain {job.name} from {job.source.uri}.",
        schedule=job.schedule,
    )  # fmt: skip
    yield plan(
        "score", path, job, about=f"Let a version of {job.name} answer the rows of a source.",
        schedule=job.score.schedule,
    )  # fmt: skip
    yield plan("tune", path, job, about=f"Search for better settings of {job.name}.")
    yield plan(
        "rollback", path, job, about=f"Let the version of {job.name} serve that served before.",
    )  # fmt: skip
    if wanted := job.triggers:
        yield plan(
            "watch", path, job, about=f"Retrain {job.name} when its source has changed.",
            every=wanted.new_data, meet="CANCEL_NEW",
        )  # fmt: skip
        # Apart from the looks: a look that meets another is left out, events wait.
        if wanted.drift:
            yield plan(
                "watch", path, job, about=f"Retrain {job.name} when its data drifts.",
                name=f"{job.name}-drift", answers=DRIFT,
            )  # fmt: skip
        if wanted.performance:
            yield plan(
                "watch", path, job, about=f"Retrain {job.name} when its champion gets worse.",
                name=f"{job.name}-quality", answers=QUALITY,
            )  # fmt: skip
        if wanted.monitored:
            yield plan(
                "monitor", path, job, about=f"Tell when {job.name} drifts or gets worse.",
                every=wanted.monitored, meet="CANCEL_NEW",
            )  # fmt: skip


def plan(
    flow: str,
    path: Path,
    job: Job,
    *,
    about: str,
    name: str | None = None,
    **more: Any,  # noqa: ANN401 - the plan's own fields
) -> Plan:
    """Describe a deployment of a job's flow."""
    return Plan(
        flow=flow,
        job=job.name,
        name=name or job.name,
        job_file=path.as_posix(),
        about=about,
        tags=(*tags_of(job.name), job.layout.input.kind, job.target.kind),
        **more,
    )


def schedule_of(made: Plan) -> dict[str, Any] | None:
    """Tell when it runs by itself, in Prefect's words."""
    if made.schedule:
        return {"cron": made.schedule.cron, "timezone": made.schedule.timezone}
    return {"interval": made.every} if made.every else None


def triggers_of(made: Plan) -> list[dict[str, Any]]:
    """Write the automation that starts it, as Prefect takes it."""
    if made.answers is None:
        return []
    told = {name: f"{{{{ event.payload.{name} }}}}" for name in ("why", "key")}
    named = {"because": told["why"], "key": told["key"]}
    filled = {name: {"__prefect_kind": "jinja", "template": text} for name, text in named.items()}
    return [
        {
            "type": "event",
            "name": f"{made.job}: {made.answers}",
            "expect": [made.answers],
            "match": {"prefect.resource.id": resource_of(made.job)},
            "parameters": {"job_file": made.job_file, **filled},
        }
    ]


def variables(folder: str) -> dict[str, Any]:
    """Give what a worker sets for a run: the folder where paths start, and no telemetry."""
    return {
        "working_dir": folder,
        "env": {**QUIET, **PATIENT, **ALIVE, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
    }


def deployment_of(made: Plan, *, pool: str | None = None) -> RunnerDeployment:
    """Make a plan what Prefect serves, or gives to a work pool."""
    found = getattr(import_module(f"flows.{made.flow}"), made.flow)
    when = schedule_of(made)
    deployment = found.to_deployment(
        name=made.name,
        parameters=made.parameters,
        schedule=Schedule(**when) if when else None,
        triggers=[DeploymentEventTrigger(**each) for each in triggers_of(made)],
        tags=list(made.tags),
        description=made.about,
        entrypoint_type=EntrypointType.MODULE_PATH,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy(made.meet)
        ),
        work_pool_name=pool,
        job_variables=variables(str(Path.cwd())) if pool else None,
    )
    return cast("RunnerDeployment", deployment)


def entry_of(made: Plan, pool: str) -> dict[str, Any]:
    """Write a plan as an entry of a prefect.yaml."""
    when, starts = schedule_of(made), triggers_of(made)
    return {
        "name": made.name,
        "entrypoint": made.entrypoint,
        "description": made.about,
        "tags": list(made.tags),
        "parameters": made.parameters,
        **({"schedules": [when]} if when else {}),
        **({"triggers": starts} if starts else {}),
        "concurrency_limit": {"limit": 1, "collision_strategy": made.meet},
        "work_pool": {"name": pool, "job_variables": variables("{{ $PWD }}")},
    }


def prefect_file(paths: Sequence[Path], *, output: Path, pool: str = POOL) -> str:
    """Write the deployments of some jobs as a prefect.yaml."""
    plans = [made for path in paths for made in plans_of(path)]
    body = {"name": "ostinato", "pull": [], "deployments": [entry_of(made, pool) for made in plans]}
    head = HEAD.format(path=output.as_posix(), pool=pool)
    return head + yaml.dump(body, Dumper=Plain, sort_keys=False, width=100)


class Plain(yaml.SafeDumper):
    """Writes every list and section where it is used, never as a reference to another."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class's own words
        """Refer to nothing."""
        return True
