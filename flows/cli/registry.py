"""The commands about registered versions: who serves, who served, and who shall."""

import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

from flows.cli.contracts import JSON

NAME = click.argument("name")
VERSION = click.argument("version", required=False, type=click.IntRange(min=1))
WHY = click.option("--why", default="", metavar="TEXT", help="Reason, for the history.")
STORE = click.option("--store", "uri", help="Folder or URI; else that of the newest version's job.")

Command = Callable[..., None]


def asking(command: Command) -> Command:
    """Give a command what all moves of aliases are asked with."""
    for part in (JSON, STORE, WHY, VERSION, NAME):
        command = part(command)
    return command


@click.command("promote")
@asking
def promote_command(**asked: Any) -> None:  # noqa: ANN401 - click's arguments
    """Let VERSION of model NAME serve, whatever the gate said; the challenger if left out."""
    carry("promote", **asked)


@click.command("approve")
@asking
def approve_command(**asked: Any) -> None:  # noqa: ANN401 - click's arguments
    """Let VERSION of model NAME serve, which the gate left to a person to decide."""
    carry("approve", **asked)


@click.command("reject")
@asking
def reject_command(**asked: Any) -> None:  # noqa: ANN401 - click's arguments
    """Say no to VERSION of model NAME, which the gate left to a person to decide."""
    carry("reject", **asked)


@click.command("rollback")
@asking
def rollback_command(**asked: Any) -> None:  # noqa: ANN401 - click's arguments
    """Let the VERSION of model NAME serve again that served before; the last one if left out."""
    carry("rollback", **asked)


def carry(
    action: str, *, name: str, version: int | None, why: str, uri: str | None, as_json: bool
) -> None:
    """Do what was asked, and say what came of it."""
    from flows.environment import settle

    settle()
    from flows.notifications.events import tell_move
    from flows.results.alias_history import as_data, moved_words
    from tasks.registry import promotion
    from tasks.storage.store import StoreConfig, open_store

    works = {
        "promote": promotion.promote,
        "approve": promotion.approve,
        "reject": promotion.reject,
        "rollback": promotion.roll_back,
    }
    store = open_store(StoreConfig(uri=uri) if uri else promotion.store_of(name))
    moved = works[action](store, name, str(version) if version else None, why)
    if os.environ.get("PREFECT_API_URL"):
        tell_move(name, moved)
    click.echo(json.dumps(as_data(moved)) if as_json else moved_words(name, moved))


@click.command("history")
@NAME
@click.option("--on", "day", metavar="DATE", help="What served on that day, or at that time, UTC.")
@STORE
@JSON
def history_command(name: str, *, day: str | None, uri: str | None, as_json: bool) -> None:
    """Show who let which version of model NAME serve, when and why."""
    from flows.environment import settle

    settle()
    from flows.results.alias_history import find_history, history_words, on_words

    found = find_history(name, uri, moment(day) if day else None)
    words = on_words if day else history_words
    click.echo(json.dumps(found) if as_json else words(found))


@click.command("reproduce")
@NAME
@click.argument("version", type=click.IntRange(min=1))
@STORE
@JSON
def reproduce_command(name: str, *, version: int, uri: str | None, as_json: bool) -> None:
    """Make VERSION of model NAME again from its tags; exit code 10 when the weights differ."""
    from flows.environment import settle

    settle()
    from dataclasses import asdict

    from flows.commands.reproduce import reproduce, words
    from flows.runtime.log_filter import hush
    from tasks.registry.promotion import store_of
    from tasks.storage.store import StoreConfig, open_store

    hush()
    store = open_store(StoreConfig(uri=uri) if uri else store_of(name))
    found = reproduce(store, name, str(version))
    click.echo(json.dumps(asdict(found)) if as_json else words(found))
    sys.exit(0 if found.identical else 10)


def moment(text: str) -> date | datetime:
    """Read a day, or a time.

    Raises:
        click.BadParameter: it is neither.
    """
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text)
        except ValueError:
            continue
    raise click.BadParameter(
        f"'{text}' is no day and no time, such as 2026-01-31 or 2026-01-31T12:00", param_hint="--on"
    )


COMMANDS = (
    promote_command,
    approve_command,
    reject_command,
    rollback_command,
    history_command,
    reproduce_command,
)
