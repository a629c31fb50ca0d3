"""How the source differs from the last snapshot of it, and what its owner wants done then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.errors import SourceError
from tasks.ingestion.config import OnChangeConfig, Policy
from tasks.ingestion.source_state import Seen
from tasks.records import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference."""

    key: str
    """The setting that says what is done about it."""
    policy: Policy
    what: str
    found: str


def settle_changes(changes: Sequence[Change]) -> list[str]:
    """Give the changes that are to be told, unless one of them stops the run.

    Raises:
        SourceError: names every change whose policy is `stop`.
    """
    stopping = [change for change in changes if change.policy == "fail"]
    if stopping:
        keys = dict.fromkeys(change.key for change in stopping)
        options = " ".join(f"--set source.on_change.{key}=accept" for key in keys)
        raise SourceError.of(
            "; ".join(change.what for change in stopping),
            found="\n".join(change.found for change in stopping),
            mend=f"mend the source; or, if that is right, run with {options}",
        )
    return [f"{c.what}. {c.found}" for c in changes if c.policy == "warn"]


def missing_files(before: Mapping[str, object], now: Sequence[str], policy: Policy) -> list[Change]:
    """Name the files that the last snapshot had and the source has no more."""
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


def absent_files(parts: Sequence[Artifact], policy: Policy) -> list[Change]:
    """Count the files that rows name and that are not there."""
    absent = sum(part.facts["absent"] for part in parts)
    if not absent:
        return []
    origins = ", ".join(part.facts["origins"][0][0] for part in parts if part.facts["absent"])
    return [
        Change(
            key="missing",
            policy=policy,
            what=f"{absent} file(s) that rows refer to are not there",
            found=f"Their cells are null; see the rows of {origins}",
        )
    ]


def find_row_loss(before: Seen | None, rows: int, config: OnChangeConfig) -> list[Change]:
    """Tell a loss of rows beyond the bound."""
    if before is None or rows >= before.rows * (1 - config.max_row_loss):
        return []
    return [
        Change(
            key="row_loss",
            policy=config.row_loss,
            what=f"the source has shrunk from {before.rows} to {rows} rows",
            found=f"More than {config.max_row_loss:.0%} are gone (source.on_change.max_row_loss).",
        )
    ]


def mixed_schemas(parts: Sequence[Artifact], policy: Policy) -> list[Change]:
    """Name the first file whose columns are not those of the others."""
    schemas = [variety for part in parts for variety in part.facts["schemas"]]
    for other in schemas[1:]:
        if told := difference(schemas[0]["schema"], other["schema"]):
            return [
                Change(
                    key="schema",
                    policy=policy,
                    what=f"{other['path']} does not have the columns of {schemas[0]['path']}",
                    found=f"{told}. What a file lacks is null; types become the wider one.",
                )
            ]
    return []


def drifted_schema(before: Seen | None, now: Mapping[str, str], policy: Policy) -> list[Change]:
    """Tell the columns that came, went or changed their type since the last snapshot."""
    told = difference(before.schema, now) if before else ""
    if not told:
        return []
    what = "the source's columns have changed since the last snapshot"
    return [Change(key="schema", policy=policy, what=what, found=told)]


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Put the difference of two schemas into words; empty when there is none."""
    added = [f"added {name} ({now[name]})" for name in now if name not in before]
    removed = [f"removed {name} ({before[name]})" for name in before if name not in now]
    retyped = [
        f"retyped {name} ({before[name]} -> {now[name]})"
        for name in now
        if name in before and now[name] != before[name]
    ]
    return ", ".join(added + removed + retyped)
