"""The only place where aliases are moved: under a lock, logged before, verified after.

The caller has verified the version (it loads, and predicts its golden rows as it did). A move is
logged as an intent; then the aliases move one by one, the champion last; then both versions get a
tag, and the outcome is logged. The next caller completes the move of a killed process if the
champion had moved, and reverts it if it had not; it also logs what somebody moved in MLflow itself.
"""

import json
import os
import pwd
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import NamedTuple

from tasks.errors import RegistryError
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
from tasks.storage.lease import wait_for_lease
from tasks.storage.store import Store
from tasks.tracking.live_metrics import read_flow_tags
from tasks.tracking.mlflow_client import TAG

_ALIASES = ("previous", "challenger", "champion")
"""In the order in which they move: the serving version moves last."""

_WAIT_SECONDS = 60.0
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
    """Do not repeat a move that was made for the same report, even if others followed."""
    expected_aliases: Mapping[str, str] | None = None
    """Refuse if the aliases are not these; None accepts any."""


class ReconciledLog(NamedTuple):
    """A log that agrees with the aliases in MLflow."""

    entries: list[LogEntry]
    completed: AliasChange | None
    """The move of a killed process that was completed now."""


def move_aliases(
    store: Store, request: AliasMove, *, check: Callable[[], None] | None = None
) -> AliasChange | None:
    """Move aliases and return the change; None where no alias has to move.

    Args:
        store: where the log is.
        request: what to move.
        check: raises an error where the move must not be made; called under the lock.

    Raises:
        RegistryError: MLflow cannot be reached, or another program moves aliases in MLflow.
        LeaseHeldError: another process holds the lock for too long.
        StoreError: the log is damaged or cannot be written.
    """
    name = request.name
    with lock_aliases(store, name):
        entries = _reconcile(store, name)
        version = versions.get_version(name, request.version)
        decision_hash = version.tags.get(f"{TAG}report_hash", "")
        if request.once and _was_applied(entries, request, decision_hash):
            return None
        if check is not None:
            check()
        before = replay_aliases(entries)
        after = _drop_deleted_versions(name, _plan_aliases(entries, request))
        if request.expected_aliases is not None and request.expected_aliases != before:
            raise _build_conflict_error(request, before)
        if after == before and request.action != "reject":
            return None
        intent = AliasChange(
            action=request.action,
            version=request.version,
            actor=_find_actor(),
            reason=request.reason,
            run_id=version.run_id or "",
            decision_hash=decision_hash,
            before=before,
            after=after,
        )
        change = write_intent(store, name, entries, intent)
        try:
            _apply_change(store, name, change)
        except KeyboardInterrupt:
            _resolve_interrupted(store, name, change)
            raise
        return change


def reconcile_log(store: Store, name: str) -> ReconciledLog:
    """Reconcile log and aliases under the lock.

    Raises:
        RegistryError: MLflow cannot be reached.
        LeaseHeldError: another process holds the lock for too long.
        StoreError: the log is damaged or cannot be written.
    """
    with lock_aliases(store, name):
        interrupted = [change for change, outcome in read_log(store, name) if outcome is None]
        entries = _reconcile(store, name)
    done = {change.number for change, outcome in entries if outcome == "done"}
    completed = [change for change in interrupted if change.number in done]
    return ReconciledLog(entries, completed[-1] if completed else None)


@contextmanager
def lock_aliases(store: Store, name: str) -> Iterator[None]:
    """Hold the lock on a model's aliases; wait while another process holds it.

    Raises:
        LeaseHeldError: the other process holds it for too long.
    """
    folder = f"history/{name}/lock"
    with wait_for_lease(store, folder, holder="alias move", seconds=_WAIT_SECONDS):
        yield


def read_aliases(name: str) -> dict[str, str]:
    """Read the aliases that are moved here from MLflow: version by alias."""
    found = versions.get_aliases(name)
    return {alias: found[alias] for alias in sorted(_ALIASES) if alias in found}


def format_aliases(aliases: Mapping[str, str]) -> str:
    """Format aliases with their versions."""
    return ", ".join(f"{alias} {number}" for alias, number in sorted(aliases.items())) or "none"


def _was_applied(entries: Sequence[LogEntry], request: AliasMove, decision_hash: str) -> bool:
    """Return whether this move was made for the same report before, whatever came after."""
    return any(
        outcome == "done"
        and (change.action, change.version) == (request.action, request.version)
        and change.decision_hash == decision_hash
        for change, outcome in entries
    )


def _build_conflict_error(request: AliasMove, now: Mapping[str, str]) -> RegistryError:
    """Build the error for a request whose expected aliases are out of date."""
    return RegistryError.of(
        f"the aliases of '{request.name}' were moved while version {request.version} was verified",
        found=f"They were {format_aliases(request.expected_aliases or {})}, "
        f"and are {format_aliases(now)}.",
        hint=f"see: ostinato history {request.name}; then run again",
    )


def _plan_aliases(entries: Sequence[LogEntry], request: AliasMove) -> dict[str, str]:
    """Compute the version by alias after the move."""
    before, version = replay_aliases(entries), request.version
    after = dict(before)
    if request.make_challenger:
        after["challenger"] = version
    if request.action == "reject" and before.get("challenger") == version:
        del after["challenger"]
    if request.action in {"register", "reject"} or before.get("champion") == version:
        return after
    after.pop("previous", None)
    earlier = (
        _find_predecessor(entries, version)
        if request.action == "rollback"
        else before.get("champion")
    )
    return after | ({"previous": earlier} if earlier else {}) | {"champion": version}


def _drop_deleted_versions(name: str, after: Mapping[str, str]) -> dict[str, str]:
    """Drop the aliases whose version was deleted."""
    existing = {str(version.version) for version in versions.list_versions(name)}
    return {alias: number for alias, number in after.items() if number in existing}


def _find_predecessor(entries: Sequence[LogEntry], version: str) -> str | None:
    """Return the version that served before this one last became the champion.

    A second rollback goes to it, not to the version that the first rollback replaced.
    """
    states = [entry.change.after for entry in entries if entry.outcome == "done"]
    serving = [state for state in states if state.get("champion") == version]
    return serving[-1].get("previous") if serving else None


def _reconcile(store: Store, name: str) -> list[LogEntry]:
    """Reconcile log and aliases after a kill, or a move in MLflow itself; return the log."""
    entries = read_log(store, name)
    if entries and entries[-1].outcome is None:
        _resolve_interrupted(store, name, entries[-1].change)
        entries = read_log(store, name)
    known, now = dict(replay_aliases(entries)), read_aliases(name)
    if now != known:
        moved = [alias for alias in reversed(_ALIASES) if now.get(alias) != known.get(alias)]
        intent = AliasChange(
            action="external",
            version=now.get(moved[0], known.get(moved[0], "")),
            actor="unknown",
            reason=f"moved outside of ostinato, detected by {_find_actor()}",
            run_id="",
            decision_hash="",
            before=known,
            after=now,
        )
        change = write_intent(store, name, entries, intent)
        write_outcome(store, name, change, "done")
        entries = read_log(store, name)
    return entries


def _resolve_interrupted(store: Store, name: str, change: AliasChange) -> None:
    """Complete the move of a killed process if its champion had moved; else revert it."""
    now, before, after = read_aliases(name), change.before, change.after
    deciding = "champion" if _changes_alias(change, "champion") else "challenger"
    ours = all(now.get(alias) in {before.get(alias), after.get(alias)} for alias in _ALIASES)
    if ours and now.get(deciding) == after.get(deciding):
        _apply_change(store, name, change)
        return
    for alias in _ALIASES if ours else ():
        if now.get(alias) != before.get(alias):
            versions.point_alias(name, alias, before.get(alias))
    write_outcome(store, name, change, "abandoned")


def _changes_alias(change: AliasChange, alias: str) -> bool:
    """Return whether a change moves this alias."""
    return change.before.get(alias) != change.after.get(alias)


def _apply_change(store: Store, name: str, change: AliasChange) -> None:
    """Move the aliases, tag both versions, and log the outcome.

    Raises:
        RegistryError: another process assumed that this one was killed, and logged an outcome.
    """
    moved = [alias for alias in _ALIASES if _changes_alias(change, alias)]
    for alias in moved:
        if read_outcome(store, change, name) is not None:
            raise RegistryError.of(
                f"entry {change.number} of the history of '{name}' was closed by another process",
                hint=f"this process was suspended for too long; see: ostinato history {name}",
            )
        versions.point_alias(name, alias, change.after.get(alias))
    text = json.dumps(asdict(change))[:5000]
    touched = {side[a] for side in (change.before, change.after) for a in moved if a in side}
    for number in sorted(touched | {change.version}, key=int):
        versions.tag_version(name, number, {f"{TAG}move.{change.number:06}": text})
    write_outcome(store, name, change, "done")


def _find_actor() -> str:
    """Return who moves the aliases: the Prefect run, or user and machine."""
    if run := read_flow_tags().get("prefect.flow_run_id"):
        return f"prefect run {run}"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
