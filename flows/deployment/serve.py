"""Serve all flows of some job files: `python -m flows.deployment.serve [--alone] JOB...`.

`--alone` says that the Prefect server was started together with this process, so that unfinished
runs of its deployments are crashed ones.
"""

import sys
from pathlib import Path

from prefect import serve

from flows.deployment.crashed_runs import mark_crashed_runs
from flows.deployment.deployments import build_deployment, plan_deployments
from flows.job.job import load_job
from flows.notifications.automations import update_automations

_ALONE = "--alone"


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
