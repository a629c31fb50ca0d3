"""The command that scores the rows of a source with a registered version."""

import json
from typing import cast

import click

from flows.cli.options import JSON_OPTION


@click.command("score")
@click.argument("job")
@click.option("--source", help="Files, glob, folder or URI; by default the job's own source.")
@click.option("--version", default="champion", show_default=True, help="An alias or a number.")
@click.option(
    "--output", help="Folder or URI for the predictions; by default scores/NAME in the store."
)
@click.option(
    "--rows", type=click.Choice(["job", "auto", "all", "last"]), default="job",
    help="Of a long table: a window at all rows, or only at the end of each series.",
)  # fmt: skip
@JSON_OPTION
def score_command(
    job: str, *, source: str | None, version: str, output: str | None, rows: str, as_json: bool
) -> None:
    """Score every row of a source with a version of JOB (its file, or a model's name)."""
    from flows.environment import configure_environment
    from flows.servers.ephemeral import start_server

    configure_environment()
    wait_for_server = start_server()
    from dataclasses import asdict

    from flows.results.scoring import format_summary
    from flows.runtime.run_context import run_context
    from flows.score import RowsChoice, read_job_name, score

    name = read_job_name(job)
    wait_for_server()
    with run_context(name):
        scored = score(job, source, version, output, rows=cast("RowsChoice", rows))
    click.echo(json.dumps(asdict(scored), default=str) if as_json else format_summary(scored))
