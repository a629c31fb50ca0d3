"""The commands about registered versions: move aliases, show their history, reproduce."""

import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

from flows.cli.options import JSON_OPTION

_NAME = click.argument("name")
_VERSION = click.argument("version", required=False, type=click.IntRange(min=1))
_WHY = click.option("--why", default="", metavar="TEXT", help="Reason, for the history.")
_STORE = click.option(
    "--store", "uri", help="Folder or URI; by default that of the newest version's job."
)

_Command = Callable[..., None]


def _add_alias_options(command: _Command) -> _Command:
    """Add the arguments and options of all commands that move an alias."""
    for part in (JSON_OPTION, _STORE, _WHY, _VERSION, _NAME):
        command = part(command)
    return command


@click.command("promote")
@_add_alias_options
def promote_command(**arguments: Any) -> None:  # noqa: ANN401 - click's arguments
    """Make VERSION of model NAME champion, whatever the gate decided; by default the challenger."""
    _move_alias("promote", **arguments)


@click.command("approve")
@_add_alias_options
def approve_command(**arguments: Any) -> None:  # noqa: ANN401 - click's arguments
    """Make VERSION of model NAME champion, which the gate left to a person to approve."""
    _move_alias("approve", **arguments)


@click.command("reject")
@_add_alias_options
def reject_command(**arguments: Any) -> None:  # noqa: ANN401 - click's arguments
    """Reject VERSION of model NAME, which the gate left to a person to approve."""
    _move_alias("reject", **arguments)


@click.command("rollback")
@_add_alias_options
def rollback_command(**arguments: Any) -> None:  # noqa: ANN401 - click's arguments
    """Make an earlier VERSION of model NAME champion again; by default the previous one."""
    _move_alias("rollback", **arguments)


def _move_alias(
    action: str, *, name: str, version: int | None, why: str, uri: str | None, as_json: bool
) -> None:
    """Move an alias, emit the event, and print the result."""
    from flows.environment import configure_environment

    configure_environment()
    from flows.notifications.events import emit_alias_move
    from flows.results.alias_history import format_move, to_json_dict
    from tasks.registry import promotion
    from tasks.storage.store import StoreConfig, open_store

    actions = {
        "promote": promotion.promote,
        "approve": promotion.approve,
        "reject": promotion.reject,
        "rollback": promotion.roll_back,
    }
    store = open_store(StoreConfig(uri=uri) if uri else promotion.find_store_config(name))
    moved = actions[action](store, name, str(version) if version else None, why)
    if os.environ.get("PREFECT_API_URL"):
        emit_alias_move(name, moved)
    click.echo(json.dumps(to_json_dict(moved)) if as_json else format_move(name, moved))


@click.command("history")
@_NAME
@click.option("--on", "day", metavar="DATE", help="Champion on that day, or at that time, UTC.")
@_STORE
@JSON_OPTION
def history_command(name: str, *, day: str | None, uri: str | None, as_json: bool) -> None:
    """Show who made which version of model NAME champion, when and why."""
    from flows.environment import configure_environment

    configure_environment()
    from flows.results.alias_history import format_history, format_served, load_history

    result = load_history(name, uri, _parse_time(day) if day else None)
    format_text = format_served if day else format_history
    click.echo(json.dumps(result) if as_json else format_text(result))


@click.command("reproduce")
@_NAME
@click.argument("version", type=click.IntRange(min=1))
@_STORE
@JSON_OPTION
def reproduce_command(name: str, *, version: int, uri: str | None, as_json: bool) -> None:
    """Train VERSION of model NAME again from its tags; exit code 10 when the weights differ."""
    from flows.environment import configure_environment

    configure_environment()
    from dataclasses import asdict

    from flows.commands.reproduce import format_reproduction, reproduce
    from flows.runtime.log_filter import hide_tracebacks
    from tasks.registry.promotion import find_store_config
    from tasks.storage.store import StoreConfig, open_store

    hide_tracebacks()
    store = open_store(StoreConfig(uri=uri) if uri else find_store_config(name))
    result = reproduce(store, name, str(version))
    click.echo(json.dumps(asdict(result)) if as_json else format_reproduction(result))
    sys.exit(0 if result.identical else 10)


def _parse_time(text: str) -> date | datetime:
    """Parse a day or a time.

    Raises:
        click.BadParameter: it is neither.
    """
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text)
        except ValueError:
            continue
    raise click.BadParameter(
        f"'{text}' is not a day or a time, such as 2026-01-31 or 2026-01-31T12:00",
        param_hint="--on",
    )


REGISTRY_COMMANDS = (
    promote_command,
    approve_command,
    reject_command,
    rollback_command,
    history_command,
    reproduce_command,
)
