"""The append-only log of a model's aliases: who moved which alias, when and why.

An entry is two small files of the store, each created exclusively: the intent, written before the
aliases move, and its outcome, written after. An entry without an outcome belongs to a process that
is still running, or that was killed. Each intent holds the hash of the one before it, so that a
changed or deleted entry is detected.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple, get_args

from tasks.errors import StoreError
from tasks.storage.store import Store, create_exclusively, read_bytes
from tasks.task_options import logger

Action = Literal["register", "promote", "approve", "reject", "rollback", "external"]
"""What moved the aliases; `external`: somebody did in MLflow, as was detected at the next move."""

_MAX_SKEW = timedelta(seconds=5)
"""Difference of two machines' clocks that is not worth a warning."""

ChangeOutcome = Literal["done", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasChange:
    """One move of a model's aliases."""

    number: int = 0
    """Of the entry, from 1; set by `write_intent`, like `at` and `previous_hash`."""
    action: Action
    version: str
    """Number of the version that is registered, promoted, approved, rejected or restored."""
    at: str = ""
    """ISO 8601, in UTC; never earlier than that of the preceding entry."""
    actor: str
    """User and machine, or the Prefect run."""
    reason: str
    run_id: str
    """The version's run in MLflow."""
    decision_hash: str
    """Content hash of the report with the gate's decision."""
    before: Mapping[str, str]
    """Version by alias, before the change."""
    after: Mapping[str, str]
    """The same, after it."""
    clock_warning: str = ""
    """How this machine's clock contradicts the preceding entry; empty where it does not."""
    previous_hash: str = ""
    """Hash of the preceding intent; empty for the first."""


class LogEntry(NamedTuple):
    """A change of the aliases with its outcome."""

    change: AliasChange
    outcome: ChangeOutcome | None
    """None while the change is not complete."""


class ServingPeriod(NamedTuple):
    """A period in which one version was the champion."""

    version: str
    since: str
    until: str | None
    """None for the version that still serves."""


def read_log(store: Store, name: str) -> list[LogEntry]:
    """Read all entries about a model, oldest first.

    Raises:
        StoreError: an entry was changed or is missing.
    """
    entries: list[LogEntry] = []
    previous_hash = ""
    while data := read_bytes(store, f"{_format_path(name, len(entries) + 1)}.json"):
        change = _parse_change(data, f"{store.root}/{_format_path(name, len(entries) + 1)}.json")
        if change.previous_hash != previous_hash or change.number != len(entries) + 1:
            raise _build_damage_error(store, name, change.number)
        entries.append(LogEntry(change, read_outcome(store, change, name)))
        previous_hash = hashlib.sha256(data).hexdigest()
    if len(entries) < count_entries(store, name):
        raise _build_damage_error(store, name, len(entries) + 1)
    return entries


def count_entries(store: Store, name: str) -> int:
    """Return the highest number of an entry; 0 where there is none."""
    paths = store.fs.glob(f"{store.root}/history/{name}/[0-9]*.json")
    return max((int(path.rpartition("/")[2].partition(".")[0]) for path in paths), default=0)


def read_outcome(store: Store, change: AliasChange, name: str) -> ChangeOutcome | None:
    """Read the outcome of a change; None where none has been written.

    Raises:
        StoreError: it is damaged.
    """
    path = f"{_format_path(name, change.number)}.outcome.json"
    data = read_bytes(store, path)
    if data is None:
        return None
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    outcomes: tuple[ChangeOutcome, ...] = get_args(ChangeOutcome)
    for outcome in outcomes:
        if isinstance(content, dict) and content.get("outcome") == outcome:
            return outcome
    raise StoreError.of(
        f"{store.root}/{path} is damaged",
        found=f"Expected an outcome: {', '.join(outcomes)}",
        hint="delete this file: the next move then reads the outcome from MLflow's aliases, as "
        "after a kill",
    )


def write_intent(
    store: Store, name: str, entries: Sequence[LogEntry], change: AliasChange
) -> AliasChange:
    """Write the next intent, before any alias moves, and return it as written.

    Raises:
        StoreError: another process wrote one at the same time.
    """
    at = read_clock().isoformat(timespec="milliseconds")
    last = entries[-1].change if entries else None
    data = read_bytes(store, f"{_format_path(name, last.number)}.json") if last else None
    intent = replace(
        change,
        number=len(entries) + 1,
        at=max(at, last.at) if last else at,
        clock_warning=_compare_clocks(at, last) if last else "",
        previous_hash=hashlib.sha256(data).hexdigest() if data else "",
    )
    if intent.clock_warning:
        logger().warning("%s: %s", name, intent.clock_warning)
    text = json.dumps(asdict(intent), indent=1).encode()
    if not create_exclusively(store, f"{_format_path(name, intent.number)}.json", text):
        raise StoreError.of(
            f"another process wrote entry {intent.number} of the history of '{name}' just now",
            hint="run again: no alias was moved",
        )
    return intent


def write_outcome(store: Store, name: str, change: AliasChange, outcome: ChangeOutcome) -> bool:
    """Write the outcome of a change; return False where it has one already."""
    at = read_clock().isoformat(timespec="milliseconds")
    text = json.dumps({"outcome": outcome, "at": at}).encode()
    return create_exclusively(store, f"{_format_path(name, change.number)}.outcome.json", text)


def replay_aliases(entries: Sequence[LogEntry]) -> Mapping[str, str]:
    """Return the version by alias, after the last change that was applied."""
    states = [entry.change.after for entry in entries if entry.outcome == "done"]
    return states[-1] if states else {}


def has_served(entries: Sequence[LogEntry], version: str) -> bool:
    """Return whether a version ever was the champion."""
    return any(
        entry.change.after.get("champion") == version
        for entry in entries
        if entry.outcome == "done"
    )


def is_rejected(entries: Sequence[LogEntry], version: str) -> bool:
    """Return whether the last decision of a person about a version was a rejection."""
    decisions = [
        change.action
        for change, outcome in entries
        if outcome == "done"
        and change.version == version
        and change.action in {"approve", "promote", "reject"}
    ]
    return decisions[-1:] == ["reject"]


def list_serving_periods(entries: Sequence[LogEntry]) -> list[ServingPeriod]:
    """List the periods in which a version was the champion, oldest first."""
    periods: list[ServingPeriod] = []
    for change, outcome in entries:
        champion = change.after.get("champion")
        serving = periods[-1].version if periods and periods[-1].until is None else None
        if outcome != "done" or champion == serving:
            continue
        if serving is not None:
            periods[-1] = periods[-1]._replace(until=change.at)
        if champion is not None:
            periods.append(ServingPeriod(champion, change.at, None))
    return periods


def find_serving_at(entries: Sequence[LogEntry], moment: date | datetime) -> list[ServingPeriod]:
    """List the periods that contain a moment, or some of a day in UTC; oldest first."""
    if isinstance(moment, datetime):
        since = until = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    else:
        since = datetime.combine(moment, time(), UTC)
        until = since + timedelta(days=1) - timedelta(microseconds=1)
    return [
        period
        for period in list_serving_periods(entries)
        if datetime.fromisoformat(period.since) <= until
        and (period.until is None or datetime.fromisoformat(period.until) > since)
    ]


def read_clock() -> datetime:
    """Return the time in UTC; tests replace it."""
    return datetime.now(UTC)


def _compare_clocks(at: str, last: AliasChange) -> str:
    """Return a warning where the clock is behind the preceding entry; empty where it is not.

    Args:
        at: ISO 8601, in UTC, by the clock.
        last: the preceding entry.
    """
    behind = datetime.fromisoformat(last.at) - datetime.fromisoformat(at)
    if behind <= _MAX_SKEW:
        return ""
    return (
        f"the clock says {at[:19]}, which is {behind.total_seconds():.0f} s before entry "
        f"{last.number}; either clock was wrong, and this entry has the time of that one"
    )


def _format_path(name: str, number: int) -> str:
    """Format the path of an entry in the store, without its extension."""
    return f"history/{name}/{number:06}"


def _parse_change(data: bytes, path: str) -> AliasChange:
    """Parse an intent.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return AliasChange(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise StoreError.of(
            f"{path} is damaged: {error}", hint="restore it from a copy of the store"
        ) from error


def _build_damage_error(store: Store, name: str, number: int) -> StoreError:
    """Build the error for an entry that was changed, or whose predecessor was."""
    return StoreError.of(
        f"the history of '{name}' was changed: {store.root}/{_format_path(name, number)}.json is "
        "not what was written, or one before it is not",
        hint="restore history/ from a copy of the store; no alias is moved until then",
    )
