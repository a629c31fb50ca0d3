"""The deployments of a job: which flows, when each runs, and what happens when two runs collide.

`ostinato ui` serves the same plans that `ostinato deploy` and `deployments/prefect.yaml` give to a
work pool. A new flow to deploy is one entry in `plan_deployments`.
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

from flows.environment import HEARTBEAT_SETTINGS, NO_TELEMETRY, THREAD_SETTINGS
from flows.job.job import Job, load_job
from flows.notifications.events import DRIFT, PERFORMANCE, format_resource_id, list_tags
from tasks.triggers.schedule import ScheduleConfig

_POOL = "ostinato"

_HEAD = """\
# Deploy from the folder that the paths of the jobs are relative to:
#   prefect work-pool create {pool} --type process
#   prefect --no-prompt deploy --all --prefect-file {path}
#   prefect worker start --pool {pool} --limit 1
# Written by `ostinato deploy --write {path} JOB...`; edit the jobs, and write it again.
# `ostinato deploy JOB...` makes the same deployments, and what this file cannot contain: the
# automations that notify the blocks of `notify` and that end runs whose process is dead.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentPlan:
    """One deployment of a flow of a job."""

    flow: str
    """Name of the flow and of its module in `flows`."""
    job: str
    name: str
    """Name of the deployment: the job's own where the flow is deployed once."""
    job_file: str
    description: str
    tags: tuple[str, ...]
    schedule: ScheduleConfig | None = None
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    """What happens to a run that starts while another one runs: it waits, or it is cancelled."""
    interval_seconds: float | None = None
    """Seconds from one run to the next, where there is no cron schedule."""
    event: str | None = None
    """The event of this job that starts a run; its payload gives the reason and a key."""

    @property
    def entrypoint(self) -> str:
        """The flow as Prefect's module entrypoint."""
        return f"flows.{self.flow}.{self.flow}"

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the flow: its job file, or the model's name where it takes no job."""
        return {"name": self.job} if self.flow == "rollback" else {"job_file": self.job_file}


def plan_deployments(path: Path) -> Iterator[DeploymentPlan]:
    """List the deployments of a job file.

    Raises:
        JobError: the job file is not valid.
    """
    job = load_job(path)
    yield _build_plan(
        "retrain", path, job, description=f"Retrain {job.name} from {job.source.uri}.",
        schedule=job.schedule,
    )  # fmt: skip
    yield _build_plan(
        "score", path, job, description=f"Score a source with a version of {job.name}.",
        schedule=job.score.schedule,
    )  # fmt: skip
    yield _build_plan("tune", path, job, description=f"Search for better settings of {job.name}.")
    yield _build_plan(
        "rollback", path, job, description=f"Make an earlier version of {job.name} champion.",
    )  # fmt: skip
    if wanted := job.triggers:
        yield _build_plan(
            "watch", path, job, description=f"Retrain {job.name} when its source has changed.",
            interval_seconds=wanted.new_data, collision_strategy="CANCEL_NEW",
        )  # fmt: skip
        # A deployment of its own: a polling run may be cancelled, a run for an event has to wait.
        if wanted.drift:
            yield _build_plan(
                "watch", path, job, description=f"Retrain {job.name} when its data drifts.",
                name=f"{job.name}-drift", event=DRIFT,
            )  # fmt: skip
        if wanted.performance:
            yield _build_plan(
                "watch", path, job, description=f"Retrain {job.name} when its champion gets worse.",
                name=f"{job.name}-performance", event=PERFORMANCE,
            )  # fmt: skip
        if wanted.monitor_interval_seconds:
            yield _build_plan(
                "monitor", path, job, description=f"Report drift or a worse model of {job.name}.",
                interval_seconds=wanted.monitor_interval_seconds, collision_strategy="CANCEL_NEW",
            )  # fmt: skip


def build_deployment(plan: DeploymentPlan, *, pool: str | None = None) -> RunnerDeployment:
    """Turn a plan into Prefect's deployment: served here, or run by the workers of `pool`."""
    found = getattr(import_module(f"flows.{plan.flow}"), plan.flow)
    when = _format_schedule(plan)
    deployment = found.to_deployment(
        name=plan.name,
        parameters=plan.parameters,
        schedule=Schedule(**when) if when else None,
        triggers=[DeploymentEventTrigger(**each) for each in _format_triggers(plan)],
        tags=list(plan.tags),
        description=plan.description,
        entrypoint_type=EntrypointType.MODULE_PATH,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy(plan.collision_strategy)
        ),
        work_pool_name=pool,
        job_variables=_build_job_variables(str(Path.cwd())) if pool else None,
    )
    return cast("RunnerDeployment", deployment)


def format_prefect_file(paths: Sequence[Path], *, output: Path, pool: str = _POOL) -> str:
    """Return the text of a prefect.yaml with the deployments of these job files."""
    plans = [plan for path in paths for plan in plan_deployments(path)]
    body = {
        "name": "ostinato",
        "pull": [],
        "deployments": [_format_entry(plan, pool) for plan in plans],
    }
    head = _HEAD.format(path=output.as_posix(), pool=pool)
    return head + yaml.dump(body, Dumper=_NoAliasDumper, sort_keys=False, width=100)


def _build_plan(
    flow: str,
    path: Path,
    job: Job,
    *,
    description: str,
    name: str | None = None,
    **more: Any,  # noqa: ANN401 - the plan's own fields
) -> DeploymentPlan:
    """Build the plan of one deployment; `more` are further fields of `DeploymentPlan`."""
    return DeploymentPlan(
        flow=flow,
        job=job.name,
        name=name or job.name,
        job_file=path.as_posix(),
        description=description,
        tags=(*list_tags(job.name), job.layout.input.kind, job.target.kind),
        **more,
    )


def _format_schedule(plan: DeploymentPlan) -> dict[str, Any] | None:
    """Return Prefect's schedule of a plan; None where it only runs on request."""
    if plan.schedule:
        return {"cron": plan.schedule.cron, "timezone": plan.schedule.timezone}
    return {"interval": plan.interval_seconds} if plan.interval_seconds else None


def _format_triggers(plan: DeploymentPlan) -> list[dict[str, Any]]:
    """Return the event triggers of a plan as Prefect's `triggers` entry."""
    if plan.event is None:
        return []
    templates = {
        name: {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{name} }}}}"}
        for name in ("reason", "key")
    }
    return [
        {
            "type": "event",
            "name": f"{plan.job}: {plan.event}",
            "expect": [plan.event],
            "match": {"prefect.resource.id": format_resource_id(plan.job)},
            "parameters": {"job_file": plan.job_file, **templates},
        }
    ]


def _build_job_variables(folder: str) -> dict[str, Any]:
    """Return what a worker sets for a run: its working folder and its environment."""
    return {
        "working_dir": folder,
        "env": {
            **NO_TELEMETRY,
            **THREAD_SETTINGS,
            **HEARTBEAT_SETTINGS,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        },
    }


def _format_entry(plan: DeploymentPlan, pool: str) -> dict[str, Any]:
    """Return a plan as an entry of a prefect.yaml."""
    when, starts = _format_schedule(plan), _format_triggers(plan)
    return {
        "name": plan.name,
        "entrypoint": plan.entrypoint,
        "description": plan.description,
        "tags": list(plan.tags),
        "parameters": plan.parameters,
        **({"schedules": [when]} if when else {}),
        **({"triggers": starts} if starts else {}),
        "concurrency_limit": {"limit": 1, "collision_strategy": plan.collision_strategy},
        "work_pool": {"name": pool, "job_variables": _build_job_variables("{{ $PWD }}")},
    }


class _NoAliasDumper(yaml.SafeDumper):
    """Writes every list and mapping in full, never as a YAML alias of another."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class's own words
        """Never use an alias."""
        return True
