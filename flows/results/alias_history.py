"""The history of a model's aliases, as text, as a page and as JSON."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from flows.results.text_table import format_table
from tasks.errors import RegistryDownError, RegistryError
from tasks.escaping import escape_markdown
from tasks.registry.alias_log import (
    AliasChange,
    find_serving_at,
    list_serving_periods,
    read_log,
    replay_aliases,
)
from tasks.registry.aliases import format_aliases, read_aliases
from tasks.registry.promotion import MoveResult, build_unknown_model_error, find_store_config
from tasks.storage.store import StoreConfig, open_store

History = dict[str, Any]

_MAX_REASON_LENGTH = 60
"""Longest reason on a terminal, in characters."""

_END_PHRASES = {"done": "", "abandoned": ", reverted", None: ", unfinished"}

_ACTION_PHRASES = {
    "promote": "promoted to champion",
    "approve": "approved as champion",
    "reject": "rejected",
    "rollback": "champion again",
}

_SHOWN_ALIASES = ("champion", "previous", "challenger")


def load_history(name: str, uri: str | None, when: date | datetime | None) -> History:
    """Load a model's history from the store; MLflow may be down.

    Args:
        name: registered model.
        uri: the store; by default that of the newest version's job.
        when: a day or a time; with it, only the versions are returned that were champion then.

    Raises:
        RegistryError: there is no such model.
        StoreError: the history is damaged.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise build_unknown_model_error(name)
    entries = read_log(open_store(_find_store_config(name, uri)), name)
    state = replay_aliases(entries)
    note = _compare_with_mlflow(name, state)
    if not entries and note is None and not read_aliases(name):
        find_store_config(name)
    history: History = {"model": name, "aliases": dict(state), "note": note}
    if when is not None:
        spans = [span._asdict() for span in find_serving_at(entries, when)]
        return {**history, "on": when.isoformat(), "served": spans}
    moves = [{**asdict(move), "end": end} for move, end in entries]
    served = [span._asdict() for span in list_serving_periods(entries)]
    return {**history, "moves": moves, "served": served}


def format_history(history: History) -> str:
    """Format a history for a terminal, the newest move last."""
    rows = [
        {
            "number": move["number"],
            "when (UTC)": move["at"][:19].replace("T", " "),
            "action": move["action"] + _END_PHRASES[move["end"]],
            "version": move["version"],
            "champion": _format_champion_change(move),
            "who": move["actor"],
            "why": _shorten(move["reason"]),
        }
        for move in history["moves"]
    ]
    lines = [f"{history['model']}: {format_aliases(history['aliases'])}"]
    lines += [f"note: {history['note']}"] if history["note"] else []
    warnings = [
        f"warning: entry {move['number']}: {move['clock_warning']}"
        for move in history["moves"]
        if move["clock_warning"]
    ]
    table = format_table(rows, "no alias has been moved yet")
    return "\n".join([*lines, "", table, *warnings])


def format_served(history: History) -> str:
    """Format the versions that were champion on a day."""
    lines = [
        f"{history['model']} version {span['version']}, from {span['since'][:19]} "
        f"until {(span['until'] or 'now')[:19]} (UTC)"
        for span in history["served"]
    ]
    return "\n".join(lines) or f"{history['model']}: no champion on {history['on']}"


def to_json_dict(moved: MoveResult) -> dict[str, Any]:
    """Convert a move to JSON's types."""
    return {**asdict(moved.change), "end": "done", "finished_earlier_request": moved.resumed}


def format_move(name: str, moved: MoveResult) -> str:
    """Format a move for a terminal."""
    line = moved.change
    begun = f" (started at {line.at[:19]} by {line.actor}, finished now)" if moved.resumed else ""
    return "\n".join(
        [
            f"{name} version {line.version}: {_ACTION_PHRASES[line.action]}{begun}",
            f"  before  {format_aliases(line.before)}",
            f"  now     {format_aliases(line.after)}",
            f"  number  {line.number} of: ostinato history {name}",
        ]
    )


def format_move_page(name: str, moved: MoveResult) -> str:
    """Format a move as a Markdown page."""
    line: AliasChange = moved.change
    actor = escape_markdown(line.actor)
    return "\n".join(
        [
            f"# {name}: {line.action} to version {line.version}",
            "",
            escape_markdown(line.reason) if line.reason else "No reason was given.",
            "",
            "| | champion | previous | challenger |",
            "|---|---|---|---|",
            *(
                f"| {when} | {' | '.join(aliases.get(name, 'none') for name in _SHOWN_ALIASES)} |"
                for when, aliases in (("before", line.before), ("now", line.after))
            ),
            "",
            f"By {actor} at {line.at[:19]} UTC, number {line.number} in the history.",
        ]
    )


def _find_store_config(name: str, uri: str | None) -> StoreConfig:
    """Return the store of the history; the default store while MLflow is down."""
    if uri:
        return StoreConfig(uri=uri)
    try:
        return find_store_config(name)
    except RegistryDownError:
        return StoreConfig()


def _compare_with_mlflow(name: str, state: Mapping[str, str]) -> str | None:
    """Return a note where MLflow's aliases differ from the history, or cannot be read."""
    try:
        now = read_aliases(name)
    except RegistryError as error:
        return f"MLflow cannot be reached to confirm this: {str(error).splitlines()[0]}"
    if now == state:
        return None
    cause = "they were moved by hand, or a program is still running or was killed"
    return f"MLflow has {format_aliases(now)}: {cause}"


def _shorten(text: str) -> str:
    """Cut a long reason; --json has all of it."""
    return text if len(text) <= _MAX_REASON_LENGTH else f"{text[: _MAX_REASON_LENGTH - 3]}..."


def _format_champion_change(move: Mapping[str, Any]) -> str:
    """Return the champion after a move, and the one before where it changed."""
    before, after = (move[side].get("champion", "none") for side in ("before", "after"))
    return after if before == after else f"{before} -> {after}"
