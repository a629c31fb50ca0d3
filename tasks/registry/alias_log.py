"""The history of a model's aliases: who moved what, when and why, never changed afterwards.

A line is two small objects of the store, each created exclusively: the intent, written before an
alias moves, and its end, written after. A line without an end belongs to a mover at work, or to
one that was killed. Each intent holds the hash of the one before it, so a line that was changed or
taken out shows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple

from tasks.errors import StoreError
from tasks.storage.store import Store, create_exclusively, read_bytes

Action = Literal["register", "promote", "approve", "reject", "rollback", "found"]
"""What moved the aliases; "found" is what somebody did in MLflow, noticed at the next move."""

End = Literal["done", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One move of a model's aliases."""

    number: int
    action: Action
    version: str
    """Number of the version that it is about."""
    at: str
    """ISO 8601, in UTC; never before the line that precedes it."""
    who: str
    """User and machine, or the Prefect run."""
    why: str
    run: str
    """MLflow's run of the version."""
    decision_hash: str
    """Content hash of the report that the decision is in."""
    before: Mapping[str, str]
    """Version by alias."""
    after: Mapping[str, str]
    chain: str
    """Hash of the line before; empty for the first."""


class Entry(NamedTuple):
    """A line, and how it ended; None while nobody knows."""

    line: Line
    end: End | None


class Served(NamedTuple):
    """A span in which one version was the champion."""

    version: str
    since: str
    until: str | None
    """None for the one that still serves."""


def now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def place_of(name: str, number: int) -> str:
    """Path of a line in the store, without its ending."""
    return f"history/{name}/{number:06}"


def read_history(store: Store, name: str) -> list[Entry]:
    """Read every line about a model, oldest first.

    Raises:
        StoreError: a line was changed or is gone.
    """
    entries: list[Entry] = []
    chain = ""
    while data := read_bytes(store, f"{place_of(name, len(entries) + 1)}.json"):
        line = line_of(data, f"{store.root}/{place_of(name, len(entries) + 1)}.json")
        if line.chain != chain or line.number != len(entries) + 1:
            raise damaged(store, name, line.number)
        entries.append(Entry(line, read_end(store, line, name)))
        chain = hashlib.sha256(data).hexdigest()
    if len(entries) < count_lines(store, name):
        raise damaged(store, name, len(entries) + 1)
    return entries


def line_of(data: bytes, where: str) -> Line:
    """Read a line.

    Raises:
        StoreError: it is none.
    """
    try:
        return Line(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise StoreError.of(
            f"{where} is damaged: {error}", mend="restore it from a copy of the store"
        ) from error


def count_lines(store: Store, name: str) -> int:
    """Find the highest number of a line."""
    paths = store.fs.glob(f"{store.root}/history/{name}/[0-9]*.json")
    return max((int(path.rpartition("/")[2].partition(".")[0]) for path in paths), default=0)


def damaged(store: Store, name: str, number: int) -> StoreError:
    """Build the refusal of a history that is not what was written."""
    return StoreError.of(
        f"the history of '{name}' was changed: {store.root}/{place_of(name, number)}.json is not "
        "the line that was written, or one before it is not",
        mend="restore history/ from a copy of the store; no alias is moved until then",
    )


def read_end(store: Store, line: Line, name: str) -> End | None:
    """Tell how a line ended, if it did."""
    data = read_bytes(store, f"{place_of(name, line.number)}.end.json")
    found: End | None = json.loads(data)["end"] if data else None
    return found


def write_intent(store: Store, name: str, entries: Sequence[Entry], **told: Any) -> Line:  # noqa: ANN401 - the fields of a line
    """Write the next line, before anything moves.

    Raises:
        StoreError: another mover wrote it in this moment.
    """
    at = now().isoformat(timespec="milliseconds")
    last = entries[-1].line if entries else None
    data = read_bytes(store, f"{place_of(name, last.number)}.json") if last else None
    line = Line(
        number=len(entries) + 1,
        at=max(at, last.at) if last else at,
        chain=hashlib.sha256(data).hexdigest() if data else "",
        **told,
    )
    text = json.dumps(asdict(line), indent=1).encode()
    if not create_exclusively(store, f"{place_of(name, line.number)}.json", text):
        raise StoreError.of(
            f"another program wrote line {line.number} of the history of '{name}' just now",
            mend="run again: nothing was moved",
        )
    return line


def write_end(store: Store, name: str, line: Line, end: End) -> bool:
    """End a line; False where it had ended already."""
    at = now().isoformat(timespec="milliseconds")
    text = json.dumps({"end": end, "at": at}).encode()
    return create_exclusively(store, f"{place_of(name, line.number)}.end.json", text)


def state_after(entries: Sequence[Entry]) -> Mapping[str, str]:
    """Return the aliases as the last line that was carried out left them."""
    done = [entry.line.after for entry in entries if entry.end == "done"]
    return done[-1] if done else {}


def has_served(entries: Sequence[Entry], version: str) -> bool:
    """Tell whether a version ever was the champion."""
    return any(
        entry.line.after.get("champion") == version for entry in entries if entry.end == "done"
    )


def is_refused(entries: Sequence[Entry], version: str) -> bool:
    """Tell whether the last word of a person about a version was no."""
    words = [line for line, end in entries if end == "done" and line.version == version]
    spoken = [line.action for line in words if line.action in {"approve", "promote", "reject"}]
    return spoken[-1:] == ["reject"]


def spans_of(entries: Sequence[Entry]) -> list[Served]:
    """Tell which version served when."""
    spans: list[Served] = []
    for line, end in entries:
        champion = line.after.get("champion")
        serving = spans[-1].version if spans and spans[-1].until is None else None
        if end != "done" or champion == serving:
            continue
        if serving is not None:
            spans[-1] = spans[-1]._replace(until=line.at)
        if champion is not None:
            spans.append(Served(champion, line.at, None))
    return spans


def served_on(entries: Sequence[Entry], when: date | datetime) -> list[Served]:
    """Name what served at a time, or on any part of a day in UTC; the oldest first."""
    if isinstance(when, datetime):
        since = until = when if when.tzinfo else when.replace(tzinfo=UTC)
    else:
        since = datetime.combine(when, time(), UTC)
        until = since + timedelta(days=1) - timedelta(microseconds=1)
    return [
        span
        for span in spans_of(entries)
        if datetime.fromisoformat(span.since) <= until
        and (span.until is None or datetime.fromisoformat(span.until) > since)
    ]
