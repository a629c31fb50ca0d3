"""The append-only log of a model's aliases: who moved what, when and why.

An entry is two small files of the store, each created exclusively: the intent, written before an
alias moves, and its outcome, written after. An entry without an outcome belongs to a process that
is still running, or that was killed. Each intent holds the hash of the one before it, so that a
changed or deleted entry is detected.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple

from tasks.errors import StoreError
from tasks.storage.store import Store, create_exclusively, read_bytes

Action = Literal["register", "promote", "approve", "reject", "rollback", "found"]
"""What moved the aliases; "found": a move by hand in MLflow, noticed at the next move."""

ChangeOutcome = Literal["done", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasChange:
    """One move of a model's aliases."""

    number: int = 0
    """Of the entry, from 1; set by `write_intent`, like `at` and `previous_hash`."""
    action: Action
    version: str
    """Number of the version that it is about."""
    at: str = ""
    """ISO 8601, in UTC; never before that of the preceding entry."""
    actor: str
    """User and machine, or the Prefect run."""
    reason: str
    run_id: str
    """The version's run in MLflow."""
    decision_hash: str
    """Content hash of the report that the decision is in."""
    before: Mapping[str, str]
    """Version by alias."""
    after: Mapping[str, str]
    previous_hash: str = ""
    """Hash of the preceding intent; empty for the first."""


class LogEntry(NamedTuple):
    """A change, and its outcome; None while that is unknown."""

    change: AliasChange
    outcome: ChangeOutcome | None


class ServingPeriod(NamedTuple):
    """A period in which one version was the champion."""

    version: str
    since: str
    until: str | None
    """None for the version that still serves."""


def read_clock() -> datetime:
    """Return the time in UTC; tests replace it."""
    return datetime.now(UTC)


def _format_path(name: str, number: int) -> str:
    """Format the path of an entry in the store, without its extension."""
    return f"history/{name}/{number:06}"


def read_log(store: Store, name: str) -> list[LogEntry]:
    """Read all entries about a model, oldest first.

    Raises:
        StoreError: an entry was changed or is missing.
    """
    entries: list[LogEntry] = []
    chain = ""
    while data := read_bytes(store, f"{_format_path(name, len(entries) + 1)}.json"):
        line = _parse_change(data, f"{store.root}/{_format_path(name, len(entries) + 1)}.json")
        if line.previous_hash != chain or line.number != len(entries) + 1:
            raise _build_damage_error(store, name, line.number)
        entries.append(LogEntry(line, read_outcome(store, line, name)))
        chain = hashlib.sha256(data).hexdigest()
    if len(entries) < count_entries(store, name):
        raise _build_damage_error(store, name, len(entries) + 1)
    return entries


def _parse_change(data: bytes, where: str) -> AliasChange:
    """Parse an intent.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return AliasChange(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise StoreError.of(
            f"{where} is damaged: {error}", hint="restore it from a copy of the store"
        ) from error


def count_entries(store: Store, name: str) -> int:
    """Return the highest number of an entry; 0 when there is none."""
    paths = store.fs.glob(f"{store.root}/history/{name}/[0-9]*.json")
    return max((int(path.rpartition("/")[2].partition(".")[0]) for path in paths), default=0)


def _build_damage_error(store: Store, name: str, number: int) -> StoreError:
    """Build the error for a log that is not what was written."""
    return StoreError.of(
        f"the history of '{name}' was changed: {store.root}/{_format_path(name, number)}.json is "
        "not what was written, or one before it is not",
        hint="restore history/ from a copy of the store; no alias is moved until then",
    )


def read_outcome(store: Store, line: AliasChange, name: str) -> ChangeOutcome | None:
    """Read the outcome of a change; None while there is none."""
    data = read_bytes(store, f"{_format_path(name, line.number)}.end.json")
    found: ChangeOutcome | None = json.loads(data)["end"] if data else None
    return found


def write_intent(
    store: Store, name: str, entries: Sequence[LogEntry], change: AliasChange
) -> AliasChange:
    """Write the next intent, before anything moves, and return it as written.

    Raises:
        StoreError: another process wrote one at the same moment.
    """
    at = read_clock().isoformat(timespec="milliseconds")
    last = entries[-1].change if entries else None
    data = read_bytes(store, f"{_format_path(name, last.number)}.json") if last else None
    line = replace(
        change,
        number=len(entries) + 1,
        at=max(at, last.at) if last else at,
        previous_hash=hashlib.sha256(data).hexdigest() if data else "",
    )
    text = json.dumps(asdict(line), indent=1).encode()
    if not create_exclusively(store, f"{_format_path(name, line.number)}.json", text):
        raise StoreError.of(
            f"another program wrote entry {line.number} of the history of '{name}' just now",
            hint="run again: nothing was moved",
        )
    return line


def write_outcome(store: Store, name: str, line: AliasChange, end: ChangeOutcome) -> bool:
    """Write the outcome of a change; False where it has one already."""
    at = read_clock().isoformat(timespec="milliseconds")
    text = json.dumps({"end": end, "at": at}).encode()
    return create_exclusively(store, f"{_format_path(name, line.number)}.end.json", text)


def replay_aliases(entries: Sequence[LogEntry]) -> Mapping[str, str]:
    """Return the aliases, version by alias, as the last applied change left them."""
    done = [entry.change.after for entry in entries if entry.outcome == "done"]
    return done[-1] if done else {}


def has_served(entries: Sequence[LogEntry], version: str) -> bool:
    """Return whether a version ever was the champion."""
    return any(
        entry.change.after.get("champion") == version
        for entry in entries
        if entry.outcome == "done"
    )


def is_rejected(entries: Sequence[LogEntry], version: str) -> bool:
    """Return whether the last decision of a person about a version was a rejection."""
    words = [line for line, end in entries if end == "done" and line.version == version]
    spoken = [line.action for line in words if line.action in {"approve", "promote", "reject"}]
    return spoken[-1:] == ["reject"]


def list_serving_periods(entries: Sequence[LogEntry]) -> list[ServingPeriod]:
    """List which version served when, oldest first."""
    spans: list[ServingPeriod] = []
    for line, end in entries:
        champion = line.after.get("champion")
        serving = spans[-1].version if spans and spans[-1].until is None else None
        if end != "done" or champion == serving:
            continue
        if serving is not None:
            spans[-1] = spans[-1]._replace(until=line.at)
        if champion is not None:
            spans.append(ServingPeriod(champion, line.at, None))
    return spans


def find_serving_at(entries: Sequence[LogEntry], when: date | datetime) -> list[ServingPeriod]:
    """List what served at a time, or on any part of a day in UTC; oldest first."""
    if isinstance(when, datetime):
        since = until = when if when.tzinfo else when.replace(tzinfo=UTC)
    else:
        since = datetime.combine(when, time(), UTC)
        until = since + timedelta(days=1) - timedelta(microseconds=1)
    return [
        span
        for span in list_serving_periods(entries)
        if datetime.fromisoformat(span.since) <= until
        and (span.until is None or datetime.fromisoformat(span.until) > since)
    ]
