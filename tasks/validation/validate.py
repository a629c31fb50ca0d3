"""Hold a snapshot to its contract: rows that break it go to quarantine, a broken table stops."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from prefect import task

from data_contracts.contract import (
    Contract,
    ContractFileError,
    Expectation,
    read_contract,
    to_yaml,
)
from data_contracts.data_docs import to_html
from data_contracts.draft import draft_contract
from data_contracts.engine.gx import ValidatorBrokenError
from data_contracts.suite import Checked, Finding, check
from tasks.dataset.quarantine import SHOWN_ROWS, digest_rows, keep_for_inspection, set_aside
from tasks.dataset.rowset import open_snapshot
from tasks.errors import ContractError, JobError, StoreError, ValidatorError
from tasks.records import Accepted, Facts, Snapshot
from tasks.storage.artifacts import Recipe, local_dir, produce, read_manifest
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, show

VERSION = 2

ROUNDING = 1e-6
"""Of rows; 29 % of 100 rows are 29, not 28.999."""

MEND = "mend the source, or change the contract if the promise is out of date"


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


def contract_at(path: Path) -> Contract:
    """Read the contract at `path`.

    Raises:
        JobError: there is none, or it cannot be read.
    """
    try:
        return read_contract(path)
    except ContractFileError as error:
        raise JobError.of(str(error), mend="correct the path or the file") from error


def contract_of(store: Store, accepted: Accepted) -> Contract:
    """Give the contract that these rows kept."""
    manifest = read_manifest(store, "validate", accepted.key) or {}
    config = dict(manifest["recipe"]["config"])
    expectations = tuple(Expectation(**entry) for entry in config.pop("expectations"))
    return Contract(**config, expectations=expectations)


def draft(
    snapshot: Snapshot,
    store: Store,
    *,
    path: Path,
    name: str,
    needed: Sequence[str],
    target: str | None,
) -> Contract:
    """Draft the contract from today's rows and keep it at `path` for all later runs."""
    rows = open_snapshot(store, snapshot).scan()
    contract = draft_contract(rows, name=name, needed=tuple(needed), target=target)
    absent = [column for column in needed if column not in contract.columns]
    if absent:
        raise ContractError.of(
            f"the source lacks columns that the job reads: {', '.join(absent)}",
            found=f"It has: {', '.join(rows.collect_schema().names())}",
            mend="correct the names in the job, or the source",
        )
    write_contract(contract, path)
    return contract


def write_contract(contract: Contract, path: Path) -> None:
    """Write a contract's file, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        partial.write_text(to_yaml(contract), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError.from_os(error, where=str(path)) from error


def check_rows(rows: pl.LazyFrame, contract: Contract) -> Checked:
    """Check all rows, and tell bad data from a validator that broke.

    Raises:
        JobError: the contract asks for something that cannot be checked.
        ValidatorError: an expectation could not be computed.
    """
    try:
        return check(rows, contract)
    except ContractFileError as error:
        raise JobError.of(f"contract '{contract.name}': {error}", mend="correct it") from error
    except ValidatorBrokenError as error:
        raise ValidatorError.of(
            f"contract '{contract.name}': {error}",
            found="This says nothing about the data: the check itself failed.",
            mend="correct the expectation's arguments for this column's type",
        ) from error


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
    """Return the rows that keep their contract; the others are set aside.

    Raises:
        ContractError: a promise about the table is broken, or by too many rows.
    """
    recipe = Recipe(
        stage="validate", version=VERSION, config=contract, inputs={"snapshot": snapshot.key}
    )

    def build(folder: Path) -> Facts:
        judged = judge(snapshot, contract, store, folder)
        write_findings(folder, judged.checked, contract, run=snapshot.key)
        if judged.refused:
            broken = broken_table([f for f in judged.checked.findings if not f.kept])
            where = keep_for_inspection(store, snapshot, contract, folder)
            raise ContractError.of(
                f"{judged.refused} contract '{contract.name}'",
                found=f"{broken}\nDetails: {where}",
                mend=MEND,
            )
        return accepted_facts(snapshot, judged, folder)

    return Accepted(produce(store, recipe, build))


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of holding a snapshot to a contract."""

    checked: Checked
    bad_rows: int
    """Rows that break a critical promise."""
    refused: str
    """Why the snapshot is refused, as the begin of a sentence; empty when it is not."""


def judge(snapshot: Snapshot, contract: Contract, store: Store, folder: Path) -> Judged:
    """Check a snapshot, and write the rows that break a critical promise into the folder.

    Raises:
        JobError: the contract asks for something that cannot be checked.
        ValidatorError: an expectation could not be computed.
    """
    rows, total = open_snapshot(store, snapshot), snapshot.facts["rows"]
    checked = check_rows(rows.scan(), contract)
    if checked.stops:
        return Judged(checked, 0, "the data breaks")
    allowed = int(contract.quarantine_max * total + ROUNDING)
    least = max((each.count for each in checked.broken), default=0)
    limit = SHOWN_ROWS if least > allowed else None
    written = set_aside(store, snapshot, checked, folder, limit=limit)
    bad = max(least, written)
    if bad <= allowed:
        return Judged(checked, bad, "")
    share = f"quarantine_max is {contract.quarantine_max:.2%}, which is {allowed} rows"
    return Judged(checked, bad, f"{bad} of {total} rows break ({share}) the promises of")


def write_findings(folder: Path, checked: Checked, contract: Contract, *, run: str) -> None:
    """Write what was found, as data and as GX's page."""
    text = json.dumps([asdict(finding) for finding in checked.findings], indent=2)
    (folder / "validation.json").write_text(text, encoding="utf-8")
    page = to_html(checked.results, name=contract.name, run=run)
    (folder / "data_docs.html").write_text(page, encoding="utf-8")


def accepted_facts(snapshot: Snapshot, judged: Judged, folder: Path) -> dict[str, object]:
    """Tell what was kept and broken, and which rows are left."""
    checked, quarantined = judged.checked, judged.bad_rows
    broken = [finding for finding in checked.findings if not finding.kept]
    aside = digest_rows(folder) if quarantined else ""
    by_pandas = sorted({f.rule for f in checked.findings if f.engine == "pandas"})
    return {
        "rows": snapshot.facts["rows"] - quarantined,
        "quarantined": quarantined,
        "promises": len(checked.findings),
        "broken": len(broken),
        "warnings": broken_table(broken) if broken else "",
        "by_pandas": by_pandas,
        "rows_key": f"{snapshot.key}-{aside[:16]}" if quarantined else snapshot.key,
    }


@task(name="validate", task_run_name="validate {name}", timeout_seconds=2 * HOUR, **STAGE)
def validate(
    snapshot: Snapshot,
    *,
    name: str,
    contract_path: str,
    needed: Sequence[str],
    target: str | None,
    store: StoreConfig,
) -> Accepted:
    """Set aside the rows that break the contract, or refuse the snapshot."""
    opened, path = open_store(store), Path(contract_path)
    contract = open_contract(path, name)
    if contract is None:
        contract = draft(snapshot, opened, path=path, name=name, needed=needed, target=target)
        logger().warning("no contract yet: drafted %s from this data; review it", path)
    try:
        accepted = hold(snapshot, contract, opened)
    except ContractError as error:
        show(f"{name}-contract", f"# {name}: refused\n\n```\n{error}\n```")
        raise
    facts = accepted.facts
    kept = facts["promises"] - facts["broken"]
    logger().info("%s promises kept, %s broken", kept, facts["broken"])
    if facts["quarantined"]:
        place = local_dir(opened, accepted) / "quarantine.parquet"
        logger().warning("%s rows are in quarantine: %s", facts["quarantined"], place)
    if facts["by_pandas"]:
        logger().info("checked by pandas, slower: %s", ", ".join(facts["by_pandas"]))
    if facts["warnings"]:
        logger().warning("contract '%s'\n%s", contract.name, facts["warnings"])
    return accepted
