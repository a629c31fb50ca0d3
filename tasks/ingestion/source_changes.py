"""How a source differs from its last snapshot, and the policy (ignore, warn, fail) for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.errors import SourceError
from tasks.ingestion.config import ChangePolicy, OnChangeConfig
from tasks.ingestion.source_state import SnapshotRecord
from tasks.records import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference between the source and its last snapshot."""

    key: str
    """The setting below `source.on_change` that holds the policy."""
    policy: ChangePolicy
    what: str
    """The difference, for messages."""
    found: str
    """Its details, for messages."""


def apply_policies(changes: Sequence[Change]) -> list[str]:
    """Return the warnings to log; raise where a change has the policy `fail`.

    Raises:
        SourceError: names every change whose policy is `fail`.
    """
    failing = [change for change in changes if change.policy == "fail"]
    if failing:
        keys = dict.fromkeys(change.key for change in failing)
        options = " ".join(f"--set source.on_change.{key}=ignore" for key in keys)
        raise SourceError.of(
            "; ".join(change.what for change in failing),
            found="\n".join(change.found for change in failing),
            hint=f"fix the source; or, if the change is intended, run with {options}",
        )
    return [f"{c.what}. {c.found}" for c in changes if c.policy == "warn"]


def find_missing_files(
    before: Mapping[str, object], now: Sequence[str], policy: ChangePolicy
) -> list[Change]:
    """Find files that the last snapshot had and that the source no longer has."""
    gone = sorted(set(before) - set(now))
    if not gone:
        return []
    more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
    return [
        Change(
            key="missing",
            policy=policy,
            what=f"{len(gone)} file(s) of the last snapshot are missing",
            found=f"Missing: {', '.join(gone[:5])}{more}",
        )
    ]


def find_missing_linked_files(parts: Sequence[Part], policy: ChangePolicy) -> list[Change]:
    """Find files that rows refer to (`source.file_columns`) and that do not exist."""
    absent = sum(part.facts.missing_files for part in parts)
    if not absent:
        return []
    origins = ", ".join(part.facts.origins[0][0] for part in parts if part.facts.missing_files)
    return [
        Change(
            key="missing",
            policy=policy,
            what=f"{absent} file(s) that rows refer to are not there",
            found=f"Their cells are null; see the rows of {origins}",
        )
    ]


def find_row_loss(before: SnapshotRecord | None, rows: int, config: OnChangeConfig) -> list[Change]:
    """Find a loss of more than `max_row_loss` of the rows of the snapshot before."""
    if before is None or rows >= before.rows * (1 - config.max_row_loss):
        return []
    return [
        Change(
            key="row_loss",
            policy=config.row_loss,
            what=f"the source shrank from {before.rows} to {rows} rows",
            found=f"More than {config.max_row_loss:.0%} are gone (source.on_change.max_row_loss).",
        )
    ]


def find_mixed_schemas(parts: Sequence[Part], policy: ChangePolicy) -> list[Change]:
    """Find the first file whose columns or types differ from those of the first file."""
    schemas = [variety for part in parts for variety in part.facts.schemas]
    for other in schemas[1:]:
        if difference := describe_schema_change(schemas[0].schema, other.schema):
            return [
                Change(
                    key="schema",
                    policy=policy,
                    what=f"{other.path} does not have the columns of {schemas[0].path}",
                    found=f"{difference}. Missing columns are filled with null, types are widened.",
                )
            ]
    return []


def find_schema_change(
    before: SnapshotRecord | None, now: Mapping[str, str], policy: ChangePolicy
) -> list[Change]:
    """Find columns that were added, removed or retyped since the last snapshot."""
    difference = describe_schema_change(before.schema, now) if before else ""
    if not difference:
        return []
    what = "the source's columns have changed since the last snapshot"
    return [Change(key="schema", policy=policy, what=what, found=difference)]


def describe_schema_change(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """List added, removed and retyped columns as text; empty where the schemas are equal."""
    added = [f"added {name} ({now[name]})" for name in now if name not in before]
    removed = [f"removed {name} ({before[name]})" for name in before if name not in now]
    retyped = [
        f"retyped {name} ({before[name]} -> {now[name]})"
        for name in now
        if name in before and now[name] != before[name]
    ]
    return ", ".join(added + removed + retyped)
