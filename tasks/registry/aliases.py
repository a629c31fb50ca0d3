"""The only place where aliases are moved: under a lock, logged before, verified after.

The caller has verified the version (it loads, and predicts its golden rows as it did). A move is
logged as an intent, then done alias by alias with the champion last, then tagged on both versions,
and its log entry is closed. The next caller completes the move of a killed process if the champion
had moved, and reverts it if it had not; and logs what somebody moved in MLflow itself.
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
    AliasChange,
    LogEntry,
    read_log,
    read_outcome,
    replay_aliases,
    write_intent,
    write_outcome,
)
from tasks.storage.lease import hold_lease
from tasks.storage.store import Store
from tasks.tracking.live_metrics import read_flow_tags
from tasks.tracking.mlflow_client import TAG

ALIASES = ("previous", "challenger", "champion")
"""In the order in which they move: the serving version moves last."""

WAIT_SECONDS = 60.0
"""How long a move waits for another one of the same model."""


class AliasMove(NamedTuple):
    """A requested move of a model's aliases to a version."""

    name: str
    version: str
    action: Action
    reason: str
    make_challenger: bool = False
    """Whether the version becomes the challenger."""
    once: bool = False
    """Do not repeat a move that was made for the same report before."""
    expected_aliases: Mapping[str, str] | None = None
    """Refuse if the aliases are not these; None accepts any."""


def _allow() -> None:
    """Allow any move."""


def move_aliases(
    store: Store, request: AliasMove, *, check: Callable[[], None] = _allow
) -> AliasChange | None:
    """Move aliases and return the change; None where nothing has to move.

    Args:
        store: where the log is.
        request: what to move.
        check: raises where the move must not be made; called under the lock.

    Raises:
        RegistryError: MLflow cannot be reached, or somebody else moves aliases by hand.
        LeaseHeldError: another process holds the lock for too long.
        StoreError: the log is damaged or cannot be written.
    """
    name = request.name
    with lock_aliases(store, name):
        entries = _reconcile(store, name)
        found = versions.get_version(name, request.version)
        decision_hash = found.tags.get(f"{TAG}report_hash", "")
        if request.once and _was_made_before(entries, request, decision_hash):
            return None
        check()
        before, after = (
            replay_aliases(entries),
            _drop_deleted_versions(name, _plan_aliases(entries, request)),
        )
        if request.expected_aliases is not None and request.expected_aliases != before:
            raise _build_conflict_error(request, before)
        if after == before and request.action != "reject":
            return None
        line = write_intent(
            store,
            name,
            entries,
            AliasChange(
                action=request.action,
                version=request.version,
                actor=find_actor(),
                reason=request.reason,
                run_id=found.run_id or "",
                decision_hash=decision_hash,
                before=before,
                after=after,
            ),
        )
        try:
            _apply(store, name, line)
        except KeyboardInterrupt:
            _resolve_interrupted(store, name, line)
            raise
        return line


def _was_made_before(entries: Sequence[LogEntry], asked: AliasMove, decision_hash: str) -> bool:
    """Return whether this decision was applied before, whatever came after."""
    return any(
        end == "done"
        and (line.action, line.version) == (asked.action, asked.version)
        and line.decision_hash == decision_hash
        for line, end in entries
    )


def _build_conflict_error(asked: AliasMove, now: Mapping[str, str]) -> RegistryError:
    """Build the error for a request whose expected aliases are out of date."""
    return RegistryError.of(
        f"the aliases of '{asked.name}' were moved while version {asked.version} was examined",
        found=f"They were {_format_aliases(asked.expected_aliases or {})}, "
        f"and are {_format_aliases(now)}.",
        hint=f"see: ostinato history {asked.name}; then run again",
    )


def _format_aliases(aliases: Mapping[str, str]) -> str:
    """Format aliases with their versions."""
    return ", ".join(f"{alias} {number}" for alias, number in sorted(aliases.items())) or "none"


def _plan_aliases(entries: Sequence[LogEntry], asked: AliasMove) -> dict[str, str]:
    """Compute where the aliases will point, by alias."""
    before, version = replay_aliases(entries), asked.version
    after = dict(before)
    if asked.make_challenger:
        after["challenger"] = version
    if asked.action == "reject" and before.get("challenger") == version:
        del after["challenger"]
    if asked.action in {"register", "reject"} or before.get("champion") == version:
        return after
    after.pop("previous", None)
    earlier = (
        _find_predecessor(entries, version)
        if asked.action == "rollback"
        else before.get("champion")
    )
    return after | ({"previous": earlier} if earlier else {}) | {"champion": version}


def _drop_deleted_versions(name: str, after: Mapping[str, str]) -> dict[str, str]:
    """Drop the aliases whose version was deleted."""
    there = {str(found.version) for found in versions.list_versions(name)}
    return {alias: number for alias, number in after.items() if number in there}


def _find_predecessor(entries: Sequence[LogEntry], version: str) -> str | None:
    """Return the version that served before this one last began to serve.

    A second rollback goes there, not to the version that the first rollback left.
    """
    states = [entry.change.after for entry in entries if entry.outcome == "done"]
    served = [state for state in states if state.get("champion") == version]
    return served[-1].get("previous") if served else None


@contextmanager
def lock_aliases(store: Store, name: str) -> Iterator[None]:
    """Hold the lock on a model's aliases; wait while another process holds it.

    Raises:
        LeaseHeldError: the other process holds it for too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        held = hold_lease(store, f"history/{name}/lock", holder="alias move")
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


class ReconciledLog(NamedTuple):
    """A log that agrees with the aliases in MLflow."""

    entries: list[LogEntry]
    completed: AliasChange | None
    """The move of a killed process that was completed now."""


def reconcile_log(store: Store, name: str) -> ReconciledLog:
    """Reconcile log and aliases under the lock.

    Raises:
        RegistryError: MLflow cannot be reached.
        LeaseHeldError: another process holds the lock for too long.
        StoreError: the log is damaged or cannot be written.
    """
    with lock_aliases(store, name):
        open_lines = [line for line, end in read_log(store, name) if end is None]
        entries = _reconcile(store, name)
    done = {line.number for line, end in entries if end == "done"}
    finished = [line for line in open_lines if line.number in done]
    return ReconciledLog(entries, finished[-1] if finished else None)


def _reconcile(store: Store, name: str) -> list[LogEntry]:
    """Reconcile log and aliases after a kill, or a move by hand; return the log."""
    entries = read_log(store, name)
    if entries and entries[-1].outcome is None:
        _resolve_interrupted(store, name, entries[-1].change)
        entries = read_log(store, name)
    known, now = dict(replay_aliases(entries)), read_aliases(name)
    if now != known:
        moved = [a for a in reversed(ALIASES) if now.get(a) != known.get(a)]
        line = write_intent(
            store,
            name,
            entries,
            AliasChange(
                action="found",
                version=now.get(moved[0], known.get(moved[0], "")),
                actor="unknown",
                reason=f"moved outside of ostinato, noticed by {find_actor()}",
                run_id="",
                decision_hash="",
                before=known,
                after=now,
            ),
        )
        write_outcome(store, name, line, "done")
        entries = read_log(store, name)
    return entries


def _resolve_interrupted(store: Store, name: str, line: AliasChange) -> None:
    """Complete the move of a killed process if its champion had moved; else revert it."""
    now = read_aliases(name)
    deciding = "champion" if _changes_alias(line, "champion") else "challenger"
    ours = all(now.get(a) in {line.before.get(a), line.after.get(a)} for a in ALIASES)
    if ours and now.get(deciding) == line.after.get(deciding):
        _apply(store, name, line)
        return
    for alias in ALIASES if ours else ():
        if now.get(alias) != line.before.get(alias):
            versions.point_alias(name, alias, line.before.get(alias))
    write_outcome(store, name, line, "abandoned")


def read_aliases(name: str) -> dict[str, str]:
    """Read our aliases from MLflow: version by alias."""
    found = versions.get_aliases(name)
    return {alias: found[alias] for alias in sorted(ALIASES) if alias in found}


def _changes_alias(line: AliasChange, alias: str) -> bool:
    """Return whether a change moves this alias."""
    return line.before.get(alias) != line.after.get(alias)


def _apply(store: Store, name: str, line: AliasChange) -> None:
    """Move the aliases, tag both versions, and close the log entry.

    Raises:
        RegistryError: another process took this one for dead and closed the entry.
    """
    moved = [alias for alias in ALIASES if _changes_alias(line, alias)]
    for alias in moved:
        if read_outcome(store, line, name) is not None:
            raise RegistryError.of(
                f"entry {line.number} of the history of '{name}' was closed by another process",
                hint=f"this process was suspended for too long; see: ostinato history {name}",
            )
        versions.point_alias(name, alias, line.after.get(alias))
    text = json.dumps(asdict(line))[:5000]
    touched = {side[a] for side in (line.before, line.after) for a in moved if a in side}
    for number in sorted(touched | {line.version}, key=int):
        versions.tag_version(name, number, {f"{TAG}move.{line.number:06}": text})
    write_outcome(store, name, line, "done")


def find_actor() -> str:
    """Identify who moves the aliases: the Prefect run, or user and machine."""
    if run := read_flow_tags().get("prefect.flow_run_id"):
        return f"prefect run {run}"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
