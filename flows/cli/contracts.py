"""The commands about contracts."""

import json
import sys
from pathlib import Path

import click

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on the last line.")
JOB = click.argument("job", type=click.Path(path_type=Path))


@click.group()
def contract() -> None:
    """Draft, check and compare contracts."""


@contract.command("draft")
@click.argument("data")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Contract file.")
@click.option("--query", help="Table's name or SELECT, where DATA is a database.")
@click.option("--target", help="Column that is predicted: never missing, its classes listed.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def contract_draft(
    data: str, *, output: Path, query: str | None, target: str | None, force: bool
) -> None:
    """Draft a contract from DATA: what holds today becomes a promise; its owner reviews it."""
    from flows.environment import settle

    settle()
    from flows.commands.contracts import draft_file

    drafted = draft_file(data, output, query=query, target=target, force=force)
    click.echo(f"wrote {output}: {len(drafted.expectations)} promises; review them")


@contract.command("check")
@click.argument("data")
@click.option(
    "--contract", "path", type=click.Path(path_type=Path), required=True, help="Contract file."
)
@click.option("--query", help="Table's name or SELECT, where DATA is a database.")
@click.option("--quarantine", type=click.Path(path_type=Path), help="Parquet for the bad rows.")
@JSON
def contract_check(
    data: str, *, path: Path, query: str | None, quarantine: Path | None, as_json: bool
) -> None:
    """Hold DATA to a contract; exit code 4 when it is refused."""
    from flows.environment import settle

    settle()
    from flows.commands.contracts import check_data, check_lines

    found = check_data(data, path, query=query, quarantine=quarantine)
    click.echo(json.dumps(found, default=str) if as_json else check_lines(found))
    sys.exit(4 if found["verdict"] == "refused" else 0)


@contract.command("diff")
@JOB
@JSON
def contract_diff(job: Path, as_json: bool) -> None:
    """Show how JOB's contract and data differ from those of its last run."""
    from flows.environment import settle

    settle()
    from flows.commands.contracts import diff_job, diff_lines
    from flows.job.job import load_job

    found = diff_job(load_job(job))
    click.echo(json.dumps(found, default=str) if as_json else diff_lines(found))
