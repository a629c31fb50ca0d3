"""The command that deploys jobs to a work pool of a Prefect server."""

import json
import os
from pathlib import Path

import click

from flows.cli.options import JSON_OPTION


@click.command("deploy")
@click.argument("jobs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--pool", default="ostinato", show_default=True, help="Work pool; created if missing."
)
@click.option(
    "--write", "output", type=click.Path(path_type=Path), help="Write a prefect.yaml instead."
)
@JSON_OPTION
def deploy_command(
    jobs: tuple[Path, ...], *, pool: str, output: Path | None, as_json: bool
) -> None:
    """Deploy the flows of JOBS to the Prefect server of PREFECT_API_URL, schedules included."""
    if output:
        from flows.deployment.deployments import format_prefect_file

        output.write_text(format_prefect_file(jobs, output=output, pool=pool), encoding="utf-8")
        click.echo(f"wrote {output}")
        return
    _check_server()
    from flows.environment import configure_environment

    configure_environment(use_running_ui=False)
    from flows.deployment.deploy import deploy

    names = deploy(jobs, pool)
    if as_json:
        click.echo(json.dumps({"pool": pool, "deployments": names}))
        return
    for name in names:
        click.echo(f"deployed {name}")
    click.echo(f"Start a worker with: prefect worker start --pool {pool} --limit 1")


def _check_server() -> None:
    """Check that a Prefect server is configured, which outlives the command.

    Raises:
        JobError: none is configured.
    """
    from tasks.errors import JobError

    if not os.environ.get("PREFECT_API_URL"):
        raise JobError.of(
            "there is no Prefect server to deploy to: PREFECT_API_URL is not set",
            hint="set it, or serve the jobs on this machine with `ostinato ui JOB...`",
        )
