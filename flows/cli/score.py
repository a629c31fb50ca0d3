"""The command that lets a registered version answer the rows of a source."""

import json
from typing import cast

import click

from flows.cli.contracts import JSON


@click.command("score")
@click.argument("job")
@click.option("--source", help="Files, glob, folder or URI; else the job's own source.")
@click.option("--version", default="champion", show_default=True, help="An alias or a number.")
@click.option("--output", help="Folder or URI for the answers; else scores/NAME in the store.")
@click.option(
    "--rows", type=click.Choice(["job", "auto", "all", "last"]), default="job",
    help="Of a long table: a window at all rows, or at the end of each series.",
)  # fmt: skip
@JSON
def score_command(
    job: str, *, source: str | None, version: str, output: str | None, rows: str, as_json: bool
) -> None:
    """Let a version of JOB (its file, or a model's name) answer every row of a source."""
    from flows.environment import settle
    from flows.servers.ephemeral import begin

    settle()
    ready = begin()
    from dataclasses import asdict

    from flows.results.scoring import summary
    from flows.runtime.run_context import at_work
    from flows.score import RowsChoice, name_of, score

    name = name_of(job)
    ready()
    with at_work(name):
        scored = score(job, source, version, output, rows=cast("RowsChoice", rows))
    click.echo(json.dumps(asdict(scored), default=str) if as_json else summary(scored))
