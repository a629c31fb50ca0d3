"""Hold a snapshot to its contract; draft the contract where there is none yet."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from prefect import task

from data_contracts.contract import Contract, ContractFileError, read_contract, to_yaml
from data_contracts.draft import draft_contract
from data_contracts.suite import Finding, ValidatorBrokenError, check_columns, check_values
from tasks.artifacts import Accepted, Facts, Snapshot
from tasks.errors import ContractError, JobError, StoreError
from tasks.publish import Recipe, local_dir, produce
from tasks.rows import row_frames, scan_rows
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store

VERSION = 1


def open_contract(path: Path, name: str) -> Contract | None:
    """Read the contract at `path`, or None when there is none yet.

    Raises:
        JobError: the file is no contract.
    """
    if not path.exists():
        return None
    try:
        return read_contract(path)
    except ContractFileError as error:
        raise JobError.of(f"contract of job '{name}': {error}", mend="correct the file") from error


def draft(
    snapshot: Snapshot, store: Store, *, path: Path, name: str, needed: Sequence[str], target: str
) -> Contract:
    """Draft the contract from today's rows and keep it at `path` for all later runs."""
    rows = scan_rows(local_dir(store, snapshot))
    contract = draft_contract(rows, name=name, needed=tuple(needed), target=target)
    absent = [column for column in needed if column not in contract.columns]
    if absent:
        raise ContractError.of(
            f"the source lacks columns that the job reads: {', '.join(absent)}",
            found=f"It has: {', '.join(rows.collect_schema().names())}",
            mend="correct the names in the job, or the source",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        partial.write_text(to_yaml(contract), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError.from_os(error, where=str(path)) from error
    return contract


def findings_of(folder: Path, contract: Contract) -> list[Finding]:
    """Check a snapshot's columns, and their values if the columns are right.

    Raises:
        JobError: the contract asks for something that cannot be checked.
        ContractError: an expectation could not be computed.
    """
    rows = scan_rows(folder)
    columns = check_columns(rows.collect_schema(), contract)
    if not all(finding.kept for finding in columns):
        return columns
    try:
        values = check_values(rows, contract, batches=lambda names: row_frames(folder, names))
    except ContractFileError as error:
        raise JobError.of(f"contract '{contract.name}': {error}", mend="correct it") from error
    except ValidatorBrokenError as error:
        raise ContractError.of(
            f"contract '{contract.name}': {error}",
            found="This says nothing about the data: the check itself failed.",
            mend="correct the expectation's arguments for this column's type",
        ) from error
    return columns + values


def broken_table(findings: Sequence[Finding]) -> str:
    """Lay out what broke, a line each."""
    rows = [("severity", "column", "promise", "found")]
    rows += [(f.severity, f.column, f.rule, f.found) for f in findings]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + f"  {row[3]}"
        for row in rows
    )


def hold(snapshot: Snapshot, contract: Contract, store: Store) -> Accepted:
    """Return the proof that the snapshot keeps its contract.

    Raises:
        ContractError: a critical promise is broken; the message has the table.
    """
    recipe = Recipe(
        stage="validate", version=VERSION, config=contract, inputs={"snapshot": snapshot.key}
    )

    def build(folder: Path) -> Facts:
        findings = findings_of(local_dir(store, snapshot), contract)
        broken = [finding for finding in findings if not finding.kept]
        if any(finding.severity == "critical" for finding in broken):
            raise ContractError.of(
                f"the data breaks contract '{contract.name}'",
                found=broken_table(broken),
                mend="mend the source, or change the contract if the promise is out of date",
            )
        text = json.dumps([asdict(finding) for finding in findings], indent=2)
        (folder / "validation.json").write_text(text, encoding="utf-8")
        warnings = broken_table(broken) if broken else ""
        return {"promises": len(findings), "broken": len(broken), "warnings": warnings}

    return Accepted(produce(store, recipe, build))


@task(name="validate", task_run_name="validate {name}", timeout_seconds=2 * HOUR, **STAGE)
def validate(
    snapshot: Snapshot,
    *,
    name: str,
    contract_path: str,
    needed: Sequence[str],
    target: str,
    store: StoreConfig,
) -> Accepted:
    """Hold the snapshot to its contract, or refuse it."""
    opened, path = open_store(store), Path(contract_path)
    contract = open_contract(path, name)
    if contract is None:
        contract = draft(snapshot, opened, path=path, name=name, needed=needed, target=target)
        logger().warning("no contract yet: drafted %s from this data; review it", path)
    accepted = hold(snapshot, contract, opened)
    logger().info(
        "%s promises kept, %s broken",
        accepted.facts["promises"] - accepted.facts["broken"],
        accepted.facts["broken"],
    )
    if accepted.facts["warnings"]:
        logger().warning("warnings of contract '%s'\n%s", contract.name, accepted.facts["warnings"])
    return accepted
