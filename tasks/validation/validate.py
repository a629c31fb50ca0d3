"""Check a snapshot against its contract: quarantine broken rows, stop at broken tables."""

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
    format_contract,
    read_contract,
)
from data_contracts.data_docs import render_data_docs
from data_contracts.draft import draft_contract
from data_contracts.engine.gx import ValidatorBrokenError
from data_contracts.suite import Finding, SuiteResult, check_contract
from tasks.dataset.quarantine import (
    MAX_REPORTED_ROWS,
    hash_quarantined_rows,
    quarantine_rows,
    store_refused_snapshot,
)
from tasks.dataset.rowset import open_snapshot
from tasks.environment import find_installed_version
from tasks.errors import ContractError, JobError, StoreError, ValidatorError
from tasks.escaping import fence_markdown
from tasks.facts import AcceptedFacts
from tasks.records import Accepted, Snapshot
from tasks.storage.artifacts import Recipe, local_dir, produce, read_manifest
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, publish_page

_VERSION = 2

_ROUNDING = 1e-6
"""Rows added before rounding down: 29 % of 100 rows are 29, not 28.999."""

_HINT = "fix the source, or change the contract if the expectation is out of date"


def find_contract(path: Path, name: str) -> Contract | None:
    """Read the contract at `path`, or None when there is none yet.

    Raises:
        JobError: the file is not a valid contract.
    """
    if not path.exists():
        return None
    try:
        return read_contract(path)
    except ContractFileError as error:
        raise JobError.of(f"contract of job '{name}': {error}", hint="correct the file") from error


def load_contract(path: Path) -> Contract:
    """Read the contract at `path`.

    Raises:
        JobError: the file is missing or invalid.
    """
    try:
        return read_contract(path)
    except ContractFileError as error:
        raise JobError.of(str(error), hint="correct the path or the file") from error


def load_accepted_contract(store: Store, accepted: Accepted) -> Contract:
    """Return the contract that these rows were accepted with, from their manifest."""
    manifest = read_manifest(store, "validate", accepted.key)
    assert manifest is not None  # noqa: S101 - the caller holds the artifact
    config = dict(manifest.recipe.config)
    expectations = tuple(Expectation(**entry) for entry in config.pop("expectations"))
    return Contract(**config, expectations=expectations)


def create_contract(
    snapshot: Snapshot,
    store: Store,
    *,
    path: Path,
    name: str,
    required_columns: Sequence[str],
    target: str | None,
) -> Contract:
    """Draft the contract from a snapshot's rows and write it to `path` for all later runs.

    Raises:
        ContractError: the snapshot lacks a required column.
        StoreError: the file cannot be written.
    """
    rows = open_snapshot(store, snapshot).scan()
    contract = draft_contract(
        rows, name=name, required_columns=tuple(required_columns), target=target
    )
    absent = [column for column in required_columns if column not in contract.columns]
    if absent:
        raise ContractError.of(
            f"the source lacks columns that the job reads: {', '.join(absent)}",
            found=f"It has: {', '.join(rows.collect_schema().names())}",
            hint="correct the names in the job, or the source",
        )
    write_contract(contract, path)
    return contract


def write_contract(contract: Contract, path: Path) -> None:
    """Write a contract's file atomically.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        partial.write_text(format_contract(contract), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError.from_os(error, where=str(path)) from error


def format_findings(findings: Sequence[Finding]) -> str:
    """Format findings as a table of text, one line each."""
    rows = [("severity", "column", "expectation", "observed")]
    rows += [(f.severity, f.column, f.rule, f.observed) for f in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + f"  {row[3]}"
        for row in rows
    )


def accept_snapshot(snapshot: Snapshot, contract: Contract, store: Store) -> Accepted:
    """Return the rows that meet the contract; the others are quarantined.

    Raises:
        ContractError: a table-level expectation fails, or too many rows are broken.
    """
    recipe = Recipe(
        stage="validate",
        version=_VERSION,
        config=contract,
        inputs={
            "snapshot": snapshot.key,
            "validator": f"great_expectations {find_installed_version('great_expectations')}",
        },
    )

    def build(folder: Path) -> AcceptedFacts:
        check = check_snapshot(snapshot, contract, store, folder)
        _write_findings(folder, check.result, contract, run=snapshot.key)
        if check.rejection:
            broken = format_findings([f for f in check.result.findings if not f.passed])
            where = store_refused_snapshot(store, snapshot, contract, folder)
            raise ContractError.of(
                f"{check.rejection} contract '{contract.name}'",
                found=f"{broken}\nDetails: {where}",
                hint=_HINT,
            )
        return _build_facts(snapshot, check, folder)

    return produce(store, recipe, build, AcceptedFacts)


@dataclass(frozen=True, slots=True)
class SnapshotCheck:
    """The result of checking a snapshot against a contract."""

    result: SuiteResult
    broken_rows: int
    """Rows that break a critical expectation."""
    rejection: str
    """Why the snapshot is refused, as the start of a sentence; empty when it is accepted."""


def check_snapshot(
    snapshot: Snapshot, contract: Contract, store: Store, folder: Path
) -> SnapshotCheck:
    """Check a snapshot, and write the rows that break a critical expectation into the folder.

    Raises:
        JobError: the contract has an unknown expectation, or invalid arguments.
        ValidatorError: an expectation could not be computed.
    """
    rows, total = open_snapshot(store, snapshot), snapshot.facts.rows
    checked = _check_rows(rows.scan(), contract)
    if checked.table_failures:
        return SnapshotCheck(checked, 0, "the data breaks")
    allowed = int(contract.max_quarantined * total + _ROUNDING)
    most = max((each.count for each in checked.broken), default=0)
    limit = MAX_REPORTED_ROWS if most > allowed else None
    written = quarantine_rows(store, snapshot, checked, folder, limit=limit)
    bad = max(most, written)
    if bad <= allowed:
        return SnapshotCheck(checked, bad, "")
    share = f"max_quarantined is {contract.max_quarantined:.2%}, which is {allowed} rows"
    return SnapshotCheck(checked, bad, f"{bad} of {total} rows break ({share}) the expectations of")


@task(name="validate", task_run_name="validate {name}", timeout_seconds=2 * HOUR, **STAGE)
def validate(
    snapshot: Snapshot,
    *,
    name: str,
    contract_path: str,
    required_columns: Sequence[str],
    target: str | None,
    store: StoreConfig,
) -> Accepted:
    """Quarantine the rows that break the contract, or refuse the snapshot."""
    opened, path = open_store(store), Path(contract_path)
    contract = find_contract(path, name)
    if contract is None:
        contract = create_contract(
            snapshot, opened, path=path, name=name, required_columns=required_columns, target=target
        )
        logger().warning("no contract yet: drafted %s from this data; review it", path)
    try:
        accepted = accept_snapshot(snapshot, contract, opened)
    except ContractError as error:
        publish_page(f"{name}-contract", f"# {name}: refused\n\n{fence_markdown(str(error))}")
        raise
    facts = accepted.facts
    met = facts.expectations - facts.broken
    logger().info("%s expectations met, %s broken", met, facts.broken)
    if facts.quarantined:
        path = local_dir(opened, accepted) / "quarantine.parquet"
        logger().warning("%s rows are quarantined: %s", facts.quarantined, path)
    if facts.by_pandas:
        logger().info("checked by pandas, which is slower: %s", ", ".join(facts.by_pandas))
    if facts.warnings:
        logger().warning("contract '%s'\n%s", contract.name, facts.warnings)
    return accepted


def _check_rows(rows: pl.LazyFrame, contract: Contract) -> SuiteResult:
    """Check all rows; separate bad data from a check that could not be computed.

    Raises:
        JobError: the contract has an unknown expectation, or invalid arguments.
        ValidatorError: an expectation could not be computed.
    """
    try:
        return check_contract(rows, contract)
    except ContractFileError as error:
        raise JobError.of(f"contract '{contract.name}': {error}", hint="correct it") from error
    except ValidatorBrokenError as error:
        raise ValidatorError.of(
            f"contract '{contract.name}': {error}",
            found="This says nothing about the data: the check itself failed.",
            hint="correct the expectation's arguments for this column's type",
        ) from error


def _write_findings(folder: Path, checked: SuiteResult, contract: Contract, *, run: str) -> None:
    """Write the findings as `validation.json`, and GX's results as `data_docs.html`."""
    text = json.dumps([asdict(finding) for finding in checked.findings], indent=2)
    (folder / "validation.json").write_text(text, encoding="utf-8")
    page = render_data_docs(checked.gx_results, name=contract.name, run=run)
    (folder / "data_docs.html").write_text(page, encoding="utf-8")


def _build_facts(snapshot: Snapshot, check: SnapshotCheck, folder: Path) -> AcceptedFacts:
    """Build the facts of the accepted rows."""
    checked, quarantined = check.result, check.broken_rows
    broken = [finding for finding in checked.findings if not finding.passed]
    digest = hash_quarantined_rows(folder) if quarantined else ""
    by_pandas = sorted({f.rule for f in checked.findings if f.engine == "pandas"})
    return AcceptedFacts(
        rows=snapshot.facts.rows - quarantined,
        quarantined=quarantined,
        expectations=len(checked.findings),
        broken=len(broken),
        warnings=format_findings(broken) if broken else "",
        by_pandas=by_pandas,
        rows_key=f"{snapshot.key}-{digest[:16]}" if quarantined else snapshot.key,
    )
