"""The command that looks for damage."""

import json
import sys
from dataclasses import asdict

import click

from flows.cli.options import JSON_OPTION


@click.command("doctor")
@click.option("--store", "uri", default=".ostinato/store", show_default=True, help="Folder or URI.")
@JSON_OPTION
def doctor_command(uri: str, *, as_json: bool) -> None:
    """Verify every file of the store and of the registered versions; exit code 7 for damage.

    Runs in Prefect whose process has ended are marked as crashed.
    """
    from flows.environment import configure_environment
    from flows.servers.ephemeral import start_server

    configure_environment()
    wait_for_server = start_server()
    from flows.commands.doctor import end_crashed_runs, examine, format_examination
    from tasks.storage.store import StoreConfig, open_store

    found = examine(open_store(StoreConfig(uri=uri)))
    found = end_crashed_runs(found, wait_for_server)
    click.echo(json.dumps(asdict(found)) if as_json else format_examination(found))
    sys.exit(7 if found.damaged else 0)
