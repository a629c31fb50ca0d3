"""The commands about contracts."""

import json
import sys
from pathlib import Path

import click

from flows.cli.options import JOB_ARGUMENT, JSON_OPTION


@click.group()
def contract() -> None:
    """Draft, check and compare data contracts."""


@contract.command("draft")
@click.argument("data")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Contract file.")
@click.option("--query", help="Table's name or SELECT, where DATA is a database.")
@click.option("--target", help="Column to predict: never missing, its classes listed.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def contract_draft(
    data: str, *, output: Path, query: str | None, target: str | None, force: bool
) -> None:
    """Draft a contract from DATA: what holds today becomes an expectation; review it."""
    from flows.environment import configure_environment

    configure_environment()
    from flows.commands.contracts import draft_contract_file

    drafted = draft_contract_file(data, output, query=query, target=target, force=force)
    click.echo(f"wrote {output}: {len(drafted.expectations)} expectations; review them")


@contract.command("check")
@click.argument("data")
@click.option(
    "--contract", "path", type=click.Path(path_type=Path), required=True, help="Contract file."
)
@click.option("--query", help="Table's name or SELECT, where DATA is a database.")
@click.option(
    "--quarantine", type=click.Path(path_type=Path), help="Parquet file for the bad rows."
)
@JSON_OPTION
def contract_check(
    data: str, *, path: Path, query: str | None, quarantine: Path | None, as_json: bool
) -> None:
    """Validate DATA by a contract; exit code 4 when it is refused."""
    from flows.environment import configure_environment

    configure_environment()
    from flows.commands.contracts import check_data, format_check

    result = check_data(data, path, query=query, quarantine=quarantine)
    click.echo(json.dumps(result, default=str) if as_json else format_check(result))
    sys.exit(4 if result["verdict"] == "refused" else 0)


@contract.command("diff")
@JOB_ARGUMENT
@JSON_OPTION
def contract_diff(job: Path, as_json: bool) -> None:
    """Compare JOB's contract and data with those of its last run."""
    from flows.environment import configure_environment

    configure_environment()
    from flows.commands.contracts import compare_with_last_run, format_comparison
    from flows.job.job import load_job

    result = compare_with_last_run(load_job(job))
    click.echo(json.dumps(result, default=str) if as_json else format_comparison(result))
