"""The command that hands jobs to the workers of a Prefect server."""

import json
import os
from pathlib import Path

import click

from flows.cli.contracts import JSON


@click.command("deploy")
@click.argument("jobs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--pool", default="ostinato", show_default=True, help="Work pool; made if missing.")
@click.option(
    "--write", "output", type=click.Path(path_type=Path), help="Write a prefect.yaml instead."
)
@JSON
def deploy_command(
    jobs: tuple[Path, ...], *, pool: str, output: Path | None, as_json: bool
) -> None:
    """Deploy the flows of JOBS to the Prefect server of PREFECT_API_URL, schedules included."""
    if output:
        from flows.deployment.deployments import prefect_file

        output.write_text(prefect_file(jobs, output=output, pool=pool), encoding="utf-8")
        click.echo(f"wrote {output}")
        return
    refuse_no_server()
    from flows.environment import settle

    settle(use_pages=False)
    from flows.deployment.deploy import deploy

    names = deploy(jobs, pool)
    if as_json:
        click.echo(json.dumps({"pool": pool, "deployments": names}))
        return
    for name in names:
        click.echo(f"deployed {name}")
    click.echo(f"Runs are taken by: prefect worker start --pool {pool} --limit 1")


def refuse_no_server() -> None:
    """Refuse where there is no server that would outlive the command.

    Raises:
        JobError: none is named.
    """
    from tasks.errors import JobError

    if not os.environ.get("PREFECT_API_URL"):
        raise JobError.of(
            "there is no Prefect server to deploy to: PREFECT_API_URL is not set",
            mend="set it, or serve the jobs on this machine with `ostinato ui JOB...`",
        )
