"""Serve all flows of some job files: `python -m flows.deployment.serve [--alone] JOB...`.

`--alone` says that the Prefect server was started with this process, and knows no other.
"""

import sys
from pathlib import Path

from prefect import serve

from flows.deployment.crashed_runs import sweep
from flows.deployment.deployments import deployment_of, plans_of
from flows.job.job import load_job
from flows.notifications.automations import settle_automations

ALONE = "--alone"


def main(words: list[str]) -> None:
    """Serve until the process is ended."""
    paths = [Path(word) for word in words if word != ALONE]
    plans = [made for path in paths for made in plans_of(path)]
    if ALONE in words:
        sweep([made.name for made in plans])
    settle_automations([(path, load_job(path)) for path in paths])
    serve(*map(deployment_of, plans))


if __name__ == "__main__":
    main(sys.argv[1:])
