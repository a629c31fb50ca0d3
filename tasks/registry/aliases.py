"""The one door through which aliases move: locked, written down before, verified after.

Who asks has proven the version (it loads and answers its golden rows as it did). A move is written
as an intent, then done alias by alias with the champion last, then tagged on both versions, and its
line is ended. Whoever comes next finishes what a killed mover began if the champion had moved, and
takes it back if it had not; and notes what somebody moved in MLflow itself.
"""

import json
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import NamedTuple

from tasks.errors import LeaseHeldError, RegistryError
from tasks.registry import versions
from tasks.registry.alias_log import (
    Action,
    Entry,
    Line,
    read_end,
    read_history,
    state_after,
    write_end,
    write_intent,
)
from tasks.storage.lease import lease
from tasks.storage.store import Store
from tasks.tracking.live_metrics import flow_tags
from tasks.tracking.mlflow_client import TAG

ALIASES = ("previous", "challenger", "champion")
"""In the order in which they move: what serves moves last."""

WAIT_SECONDS = 60.0
"""Time that a mover waits for another one of the same model."""


class Asked(NamedTuple):
    """A move that somebody wants."""

    name: str
    version: str
    action: Action
    why: str
    challenge: bool = False
    """Whether it becomes the challenger."""
    once: bool = False
    """Whether a move that was made for the same report before is not made again."""
    seen: Mapping[str, str] | None = None
    """The aliases as they were when it was asked for; any will do when left out."""


def nothing() -> None:
    """Refuse nothing."""


def move(store: Store, asked: Asked, *, refuse: Callable[[], None] = nothing) -> Line | None:
    """Move aliases; None where they already are as asked.

    Args:
        store: where the history is.
        asked: what to move.
        refuse: raises where the move may not be made; called when nobody else can move.

    Raises:
        RegistryError: MLflow cannot be asked, or somebody else moves aliases by hand.
        LeaseHeldError: another mover does not come to an end.
        StoreError: the history is damaged or cannot be written.
    """
    name = asked.name
    with only_mover(store, name):
        entries = settle(store, name)
        found = versions.find_number(name, asked.version)
        decision_hash = found.tags.get(f"{TAG}report_hash", "")
        if asked.once and made_before(entries, asked, decision_hash):
            return None
        refuse()
        before, after = state_after(entries), left_of(name, planned(entries, asked))
        if asked.seen is not None and asked.seen != before:
            raise changed_meanwhile(asked, before)
        if after == before and asked.action != "reject":
            return None
        line = write_intent(
            store,
            name,
            entries,
            action=asked.action,
            version=asked.version,
            who=acting(),
            why=asked.why,
            run=found.run_id or "",
            decision_hash=decision_hash,
            before=before,
            after=after,
        )
        try:
            carry_out(store, name, line)
        except KeyboardInterrupt:
            end_killed(store, name, line)
            raise
        return line


def made_before(entries: Sequence[Entry], asked: Asked, decision_hash: str) -> bool:
    """Tell whether this decision was carried out before, whatever came after."""
    return any(
        end == "done"
        and (line.action, line.version) == (asked.action, asked.version)
        and line.decision_hash == decision_hash
        for line, end in entries
    )


def changed_meanwhile(asked: Asked, now: Mapping[str, str]) -> RegistryError:
    """Build the refusal of a move that was asked for in another situation."""
    return RegistryError.of(
        f"the aliases of '{asked.name}' were moved while version {asked.version} was examined",
        found=f"They were {told(asked.seen or {})}, and are {told(now)}.",
        mend=f"see: ostinato history {asked.name}; then ask again",
    )


def told(aliases: Mapping[str, str]) -> str:
    """Write aliases as words."""
    return ", ".join(f"{alias} {number}" for alias, number in sorted(aliases.items())) or "none"


def planned(entries: Sequence[Entry], asked: Asked) -> dict[str, str]:
    """Say where the aliases shall point."""
    before, version = state_after(entries), asked.version
    after = dict(before)
    if asked.challenge:
        after["challenger"] = version
    if asked.action == "reject" and before.get("challenger") == version:
        del after["challenger"]
    if asked.action in {"register", "reject"} or before.get("champion") == version:
        return after
    after.pop("previous", None)
    earlier = before_it(entries, version) if asked.action == "rollback" else before.get("champion")
    return after | ({"previous": earlier} if earlier else {}) | {"champion": version}


def left_of(name: str, after: Mapping[str, str]) -> dict[str, str]:
    """Leave out an alias of a version that was deleted."""
    there = {str(found.version) for found in versions.versions_of(name)}
    return {alias: number for alias, number in after.items() if number in there}


def before_it(entries: Sequence[Entry], version: str) -> str | None:
    """Name the version that served before this one did, when it last did.

    To that one a second rollback goes, and not to the version that the first one left.
    """
    states = [entry.line.after for entry in entries if entry.end == "done"]
    served = [state for state in states if state.get("champion") == version]
    return served[-1].get("previous") if served else None


@contextmanager
def only_mover(store: Store, name: str) -> Iterator[None]:
    """Hold the lock on a model's aliases, waited for while another mover is at work.

    Raises:
        LeaseHeldError: it does not come to an end.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        held = lease(store, f"history/{name}/lock", holder="mover of aliases")
        try:
            held.__enter__()
            break
        except LeaseHeldError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    try:
        yield
    finally:
        held.__exit__(None, None, None)


class Settled(NamedTuple):
    """A history that agrees with the aliases."""

    entries: list[Entry]
    finished: Line | None
    """What a killed mover had begun and was finished now."""


def settled(store: Store, name: str) -> Settled:
    """Bring history and aliases together while nobody else can move.

    Raises:
        RegistryError: MLflow cannot be asked.
        LeaseHeldError: another mover does not come to an end.
        StoreError: the history is damaged or cannot be written.
    """
    with only_mover(store, name):
        open_lines = [line for line, end in read_history(store, name) if end is None]
        entries = settle(store, name)
    done = {line.number for line, end in entries if end == "done"}
    finished = [line for line in open_lines if line.number in done]
    return Settled(entries, finished[-1] if finished else None)


def settle(store: Store, name: str) -> list[Entry]:
    """Bring history and aliases together after a kill, or a move by hand; return the history."""
    entries = read_history(store, name)
    if entries and entries[-1].end is None:
        end_killed(store, name, entries[-1].line)
        entries = read_history(store, name)
    known, now = dict(state_after(entries)), current(name)
    if now != known:
        moved = [a for a in reversed(ALIASES) if now.get(a) != known.get(a)]
        line = write_intent(
            store,
            name,
            entries,
            action="found",
            version=now.get(moved[0], known.get(moved[0], "")),
            who="somebody",
            why=f"moved outside of ostinato, noticed by {acting()}",
            run="",
            decision_hash="",
            before=known,
            after=now,
        )
        write_end(store, name, line, "done")
        entries = read_history(store, name)
    return entries


def end_killed(store: Store, name: str, line: Line) -> None:
    """Finish what a killed mover began if its champion had moved; else take it back."""
    now = current(name)
    deciding = "champion" if changes(line, "champion") else "challenger"
    ours = all(now.get(a) in {line.before.get(a), line.after.get(a)} for a in ALIASES)
    if ours and now.get(deciding) == line.after.get(deciding):
        carry_out(store, name, line)
        return
    for alias in ALIASES if ours else ():
        if now.get(alias) != line.before.get(alias):
            versions.point_alias(name, alias, line.before.get(alias))
    write_end(store, name, line, "abandoned")


def current(name: str) -> dict[str, str]:
    """Return our aliases as MLflow has them."""
    found = versions.aliases_of(name)
    return {alias: found[alias] for alias in sorted(ALIASES) if alias in found}


def changes(line: Line, alias: str) -> bool:
    """Tell whether a line moves this alias."""
    return line.before.get(alias) != line.after.get(alias)


def carry_out(store: Store, name: str, line: Line) -> None:
    """Point the aliases, tag both versions, and end the line.

    Raises:
        RegistryError: another mover took this line for dead and ended it.
    """
    moved = [alias for alias in ALIASES if changes(line, alias)]
    for alias in moved:
        if read_end(store, line, name) is not None:
            raise RegistryError.of(
                f"line {line.number} of the history of '{name}' was ended by another mover",
                mend=f"this process stood still for too long; see: ostinato history {name}",
            )
        versions.point_alias(name, alias, line.after.get(alias))
    text = json.dumps(asdict(line))[:5000]
    touched = {side[a] for side in (line.before, line.after) for a in moved if a in side}
    for number in sorted(touched | {line.version}, key=int):
        versions.tag_version(name, number, {f"{TAG}move.{line.number:06}": text})
    write_end(store, name, line, "done")


def acting() -> str:
    """Name who acts: the Prefect run, or the user and the machine."""
    if run := flow_tags().get("prefect.flow_run_id"):
        return f"prefect run {run}"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
