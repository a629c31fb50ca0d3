"""The history of a model's aliases, as a person reads it and as a program does."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from flows.results.text_table import table
from tasks.errors import RegistryDownError, RegistryError
from tasks.registry.alias_log import Line, read_history, served_on, spans_of, state_after
from tasks.registry.aliases import current, told
from tasks.registry.promotion import Moved, store_of, unknown_model
from tasks.storage.store import StoreConfig, open_store

Found = dict[str, Any]

WIDEST = 60
"""Characters of a reason on a terminal."""


def find_history(name: str, uri: str | None, when: date | datetime | None) -> Found:
    """Read a model's history; while MLflow is away, as far as the store knows.

    Args:
        name: the model's.
        uri: the store's; that of the newest version's job when left out.
        when: a day or a time at which something served.

    Raises:
        RegistryError: nobody knows such a model.
        StoreError: the history is damaged.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise unknown_model(name)
    entries = read_history(open_store(place_of(name, uri)), name)
    state = state_after(entries)
    note = difference(name, state)
    if not entries and note is None and not current(name):
        store_of(name)
    found: Found = {"model": name, "aliases": dict(state), "note": note}
    if when is not None:
        spans = [span._asdict() for span in served_on(entries, when)]
        return {**found, "on": when.isoformat(), "served": spans}
    lines = [{**asdict(line), "end": end} for line, end in entries]
    return {**found, "lines": lines, "served": [span._asdict() for span in spans_of(entries)]}


def place_of(name: str, uri: str | None) -> StoreConfig:
    """Say where the history is; in the usual place while MLflow cannot be asked."""
    if uri:
        return StoreConfig(uri=uri)
    try:
        return store_of(name)
    except RegistryDownError:
        return StoreConfig()


def difference(name: str, state: Mapping[str, str]) -> str | None:
    """Tell where MLflow's aliases are not what the history says; None where they are."""
    try:
        now = current(name)
    except RegistryError as error:
        return f"MLflow cannot be asked whether that is still so: {str(error).splitlines()[0]}"
    if now == state:
        return None
    return f"MLflow has {told(now)}: moved by hand, or by a program that is at work or was killed"


def history_words(found: Found) -> str:
    """Write a history for a terminal, the newest line last."""
    rows = [
        {
            "line": line["number"],
            "when (UTC)": line["at"][:19].replace("T", " "),
            "what": line["action"] + ENDS[line["end"]],
            "version": line["version"],
            "champion": champions(line),
            "who": line["who"],
            "why": shortened(line["why"]),
        }
        for line in found["lines"]
    ]
    lines = [f"{found['model']}: {told(found['aliases'])}"]
    lines += [f"note: {found['note']}"] if found["note"] else []
    return "\n".join([*lines, "", table(rows, "no alias was moved yet")])


ENDS = {"done": "", "abandoned": ", taken back", None: ", not ended"}


def shortened(text: str) -> str:
    """Leave out the end of a long reason; --json has it."""
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def champions(line: Mapping[str, Any]) -> str:
    """Tell how a line changed what serves."""
    before, after = (line[side].get("champion", "none") for side in ("before", "after"))
    return after if before == after else f"{before} -> {after}"


def on_words(found: Found) -> str:
    """Say what served on a day."""
    lines = [
        f"{found['model']} version {span['version']}, from {span['since'][:19]} "
        f"until {(span['until'] or 'now')[:19]} (UTC)"
        for span in found["served"]
    ]
    return "\n".join(lines) or f"{found['model']}: nothing served on {found['on']}"


def as_data(moved: Moved) -> dict[str, Any]:
    """Write a move as JSON has it."""
    return {**asdict(moved.line), "end": "done", "finished_earlier_request": moved.earlier}


def moved_words(name: str, moved: Moved) -> str:
    """Say what came of a request."""
    line = moved.line
    begun = f" (begun at {line.at[:19]} by {line.who}, finished now)" if moved.earlier else ""
    return "\n".join(
        [
            f"{name} version {line.version}: {DONE[line.action]}{begun}",
            f"  before  {told(line.before)}",
            f"  now     {told(line.after)}",
            f"  line    {line.number} of: ostinato history {name}",
        ]
    )


DONE = {
    "promote": "promoted, it serves",
    "approve": "approved, it serves",
    "reject": "rejected",
    "rollback": "rolled back to, it serves",
}


def moved_page(name: str, moved: Moved) -> str:
    """Write what came of a request as a page."""
    line: Line = moved.line
    return "\n".join(
        [
            f"# {name}: {line.action} to version {line.version}",
            "",
            f"{line.why}" if line.why else "No reason was given.",
            "",
            "| | champion | previous | challenger |",
            "|---|---|---|---|",
            *(
                f"| {when} | " + " | ".join(side.get(alias, "none") for alias in SHOWN) + " |"
                for when, side in (("before", line.before), ("now", line.after))
            ),
            "",
            f"By {line.who} at {line.at[:19]} UTC, line {line.number} of the history.",
        ]
    )


SHOWN = ("champion", "previous", "challenger")
