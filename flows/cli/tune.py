"""The command that searches for better settings."""

import json
from pathlib import Path

import click

from flows.cli.contracts import JOB, JSON
from flows.cli.overrides import parse_settings


@click.command("tune")
@JOB
@click.option("--trials", type=click.IntRange(min=1), help="Settings that are tried; else 20.")
@click.option("--budget", metavar="SPAN", help="Begin no trial after this time, such as 30m.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a setting.")
@click.option("--output", type=click.Path(path_type=Path), help="Job file; else JOB.tuned.yaml.")
@click.option("--force", is_flag=True, help="Write over a file that was changed by hand.")
@JSON
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
    """Search for better settings of JOB on its validation rows; run again, it goes on."""
    from flows.environment import settle
    from flows.servers.ephemeral import begin

    settle()
    ready = begin()
    from dataclasses import asdict

    from flows.job.job import load_job
    from flows.results.tuned_job import summary
    from flows.runtime.run_context import at_work
    from flows.tune import tune
    from models.units import parse_duration

    try:
        parse_duration(budget)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--budget") from error
    overrides = parse_settings(settings)
    name = load_job(job, overrides).name
    ready()
    with at_work(name):
        found = tune(
            str(job),
            overrides,
            trials=trials,
            budget=budget,
            output=str(output) if output else None,
            force=force,
        )
    click.echo(json.dumps(asdict(found)) if as_json else summary(found))
