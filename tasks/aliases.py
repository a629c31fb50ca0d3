"""The one door through which aliases move: locked, written down before, verified after.

A move is proven first (the version loads and answers its golden rows as it did), then written as
an intent, then done alias by alias with the champion last, then tagged on both versions, and its
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

import polars as pl

from tasks import versions
from tasks.errors import LeaseHeldError, RegistryError
from tasks.history import (
    Action,
    Entry,
    Line,
    read_end,
    read_history,
    state_after,
    write_end,
    write_intent,
)
from tasks.lease import lease
from tasks.live import flow_tags
from tasks.publish import hash_folder
from tasks.served import check_golden
from tasks.store import Store
from tasks.tracking import TAG

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
    serve: bool = True
    """Whether the version becomes the champion."""
    challenge: bool = False
    """Whether it becomes the challenger."""
    once: bool = False
    """Whether a move that was made for the same report before is not made again."""


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
        told = {
            "decision_hash": found.tags.get(f"{TAG}report_hash", ""),
            "run": found.run_id or "",
            "why": asked.why,
            "action": asked.action,
            "version": asked.version,
            "who": acting(),
        }
        if asked.once and made_before(entries, asked, told["decision_hash"]):
            return None
        refuse()
        before = state_after(entries)
        after = planned(before, asked)
        if after == before:
            return None
        line = write_intent(store, name, entries, before=before, after=after, **told)
        carry_out(store, name, line)
        return line


def made_before(entries: Sequence[Entry], asked: Asked, decision_hash: str) -> bool:
    """Tell whether this decision was carried out before, whatever came after."""
    return any(
        end == "done"
        and (line.action, line.version) == (asked.action, asked.version)
        and line.decision_hash == decision_hash
        for line, end in entries
    )


def planned(before: Mapping[str, str], asked: Asked) -> dict[str, str]:
    """Say where the aliases shall point."""
    after = dict(before)
    if asked.challenge:
        after["challenger"] = asked.version
    if asked.serve and before.get("champion") != asked.version:
        if "champion" in before:
            after["previous"] = before["champion"]
        after["champion"] = asked.version
    return after


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
    for number in sorted(touched, key=int):
        versions.tag_version(name, number, {f"{TAG}move.{line.number:06}": text})
    write_end(store, name, line, "done")


def prove(name: str, version: str) -> None:
    """Load a version, compare its files with those that were registered, and ask its golden rows.

    Raises:
        RegistryError: it cannot be loaded, is not what was registered, or answers otherwise.
    """
    wanted = versions.find_number(name, version).tags.get(f"{TAG}bundle_hash")
    try:
        folder = check_golden(name, version)
    except (
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        AttributeError,
        ImportError,
        SyntaxError,
        pl.exceptions.PolarsError,
    ) as error:
        raise refused(name, version, f"it cannot be loaded: {error}") from error
    if wanted and hash_folder(folder / "artifacts" / "bundle") != wanted:
        raise refused(name, version, "its files are not those that were registered")


def refused(name: str, version: str, why: str) -> RegistryError:
    """Build the refusal of a version that is damaged."""
    return RegistryError.of(
        f"{name} version {version} may not serve: {why}",
        found="No alias was moved.",
        mend="restore its files from a copy of MLflow's storage, or choose another version: "
        f"ostinato history {name}",
    )


def acting() -> str:
    """Name who acts: the Prefect run, or the user and the machine."""
    if run := flow_tags().get("prefect.flow_run_id"):
        return f"prefect run {run}"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
