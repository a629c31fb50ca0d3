"""The command that searches for better settings."""

import json
from pathlib import Path

import click

from flows.cli.options import JOB_ARGUMENT, JSON_OPTION, SET_OPTION, parse_settings


@click.command("tune")
@JOB_ARGUMENT
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials; by default 20.")
@click.option("--budget", metavar="SPAN", help="Start no trial after this time, such as 30m.")
@SET_OPTION
@click.option(
    "--output", type=click.Path(path_type=Path), help="Job file; by default JOB.tuned.yaml."
)
@click.option("--force", is_flag=True, help="Overwrite a file that was changed by hand.")
@JSON_OPTION
def tune_command(
    job: Path,
    *,
    trials: int | None,
    budget: str | None,
    settings: tuple[str, ...],
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Search for better settings of JOB on its validation rows; run again, it continues."""
    from flows.environment import configure_environment
    from flows.servers.ephemeral import start_server

    configure_environment()
    wait_for_server = start_server()
    from dataclasses import asdict

    from flows.job.job import load_job
    from flows.results.tuned_job import format_summary
    from flows.runtime.run_context import run_context
    from flows.tune import tune
    from models.units import parse_duration

    try:
        parse_duration(budget)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--budget") from error
    overrides = parse_settings(settings)
    name = load_job(job, overrides).name
    wait_for_server()
    with run_context(name):
        found = tune(
            str(job),
            overrides,
            trials=trials,
            budget=budget,
            output=str(output) if output else None,
            force=force,
        )
    click.echo(json.dumps(asdict(found)) if as_json else format_summary(found))
