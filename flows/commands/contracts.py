"""`ostinato contract`: draft a contract from data, validate data by it, compare it with a run's."""

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_contracts.contract import Contract, compare_contracts
from data_contracts.draft import draft_contract
from data_contracts.suite import Finding
from flows.job.job import Job
from tasks.dataset.rowset import open_snapshot
from tasks.errors import ContractError, JobError
from tasks.facts import AcceptedFacts, SnapshotFacts
from tasks.ingestion.config import OnChangeConfig, SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.ingestion.source_changes import describe_schema_change
from tasks.records import Accepted, Snapshot
from tasks.retention.artifacts import read_manifests
from tasks.storage.artifacts import find_by_key
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.validation.validate import (
    check_snapshot,
    find_contract,
    format_findings,
    load_accepted_contract,
    load_contract,
    write_contract,
)


def build_source(data: str, query: str | None = None) -> SourceConfig:
    """Build the source of data named on the command line; changes since another run are ignored.

    Raises:
        JobError: the data cannot be a source.
    """
    try:
        changes = OnChangeConfig(missing="ignore", row_loss="ignore", schema="ignore")
        return SourceConfig(uri=data, query=query, on_change=changes)
    except ValueError as error:
        raise JobError.of(f"'{data}' cannot be read: {error}") from error


def draft_contract_file(
    data: str, output: Path, *, query: str | None, target: str | None, force: bool
) -> Contract:
    """Draft a contract for all columns of some data, and write it.

    Raises:
        SourceError: the data cannot be read.
        JobError: the file exists already, or the target is not in the data.
    """
    if output.exists() and not force:
        raise JobError.of(f"{output} exists already", hint="overwrite it with --force")
    store = open_store(StoreConfig())
    snapshot = take_snapshot(build_source(data, query), store, remember=False)
    rows = open_snapshot(store, snapshot)
    columns = tuple(rows.schema.names())
    if target and target not in columns:
        raise JobError.of(
            f"--target: column '{target}' is missing", found=f"Columns: {', '.join(columns)}"
        )
    contract = draft_contract(
        rows.scan(), name=output.stem, required_columns=columns, target=target
    )
    write_contract(contract, output)
    return contract


def check_data(
    data: str, contract_path: Path, *, query: str | None, quarantine: Path | None
) -> dict[str, Any]:
    """Validate data by a contract, as a run would, and return the verdict with its reasons.

    Args:
        data: file, glob, folder, table or database.
        contract_path: file of the contract.
        query: table's name or SELECT, for a database.
        quarantine: Parquet file for the rows that break a critical expectation.

    Raises:
        SourceError: the data cannot be read.
        JobError: the contract cannot be read, or has an expectation that cannot be checked.
        ValidatorError: the validation itself failed.
    """
    contract, store = load_contract(contract_path), open_store(StoreConfig())
    snapshot = take_snapshot(build_source(data, query), store, remember=False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checked = check_snapshot(snapshot, contract, store, folder)
        if quarantine and checked.broken_rows:
            quarantine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "quarantine.parquet", quarantine)
    total = snapshot.facts.rows
    broken = [finding for finding in checked.result.findings if not finding.passed]
    return {
        "contract": contract.name,
        "rows": total,
        "accepted": 0 if checked.rejection else total - checked.broken_rows,
        "quarantined": checked.broken_rows,
        "verdict": "refused" if checked.rejection else "accepted",
        "reasons": [asdict(finding) for finding in broken],
    }


def format_check(result: dict[str, Any]) -> str:
    """Format the result for a terminal."""
    lines = [
        f"contract {result['contract']}: {result['verdict']}",
        f"rows: {result['rows']}, {result['accepted']} accepted, {result['quarantined']} bad",
    ]
    if result["reasons"]:
        lines.append(format_findings([Finding(**reason) for reason in result["reasons"]]))
    return "\n".join(lines)


def compare_with_last_run(job: Job) -> dict[str, Any]:
    """Compare contract and data with those of the job's last run.

    Raises:
        JobError: the job has no contract yet.
        ContractError: no run has passed the contract yet.
        SourceError: the data cannot be read.
    """
    store = open_store(job.store)
    contract = find_contract(Path(job.contract_path), job.name)
    if contract is None:
        raise JobError.of(
            f"job '{job.name}' has no contract yet",
            hint=f"draft one: ostinato contract draft DATA --output {job.contract_path}",
        )
    accepted, before = _find_last_run(store, contract.name)
    run_contract = load_accepted_contract(store, accepted)
    now = take_snapshot(job.source, store, remember=False)
    fresh = draft_contract(
        open_snapshot(store, now).scan(),
        name=contract.name,
        required_columns=tuple(job.required_columns),
        target=job.target.required_column,
    )
    return {
        "job": job.name,
        "contract": compare_contracts(run_contract, contract),
        "columns": describe_schema_change(before.facts.schema, now.facts.schema) or "",
        "rows": [before.facts.rows, now.facts.rows],
        "draft": compare_contracts(contract, fresh),
    }


def format_comparison(result: dict[str, Any]) -> str:
    """Format the result for a terminal."""
    before, now = result["rows"]
    lines = [
        f"{result['job']}: since the last run that passed the contract",
        f"rows      {before} -> {now}",
        f"columns   {result['columns'] or 'the same'}",
        "contract  " + ("\n          ".join(result["contract"]) or "the same"),
        "a contract drafted from today's data would change",
        "          " + ("\n          ".join(result["draft"]) or "the same contract"),
    ]
    return "\n".join(lines)


def _find_last_run(store: Store, name: str) -> tuple[Accepted, Snapshot]:
    """Find the newest accepted rows of this contract, and their snapshot.

    Raises:
        ContractError: there are none.
    """
    found = [
        manifest
        for manifest in read_manifests(store)
        if manifest.stage == "validate" and manifest.recipe.config["name"] == name
    ]
    if found:
        newest = max(found, key=lambda manifest: manifest.created_at)
        accepted = find_by_key(store, "validate", newest.key, AcceptedFacts)
        snapshot = find_by_key(store, "ingest", newest.recipe.inputs["snapshot"], SnapshotFacts)
        if accepted and snapshot:
            return accepted, snapshot
    raise ContractError.of(
        f"no run has validated data by contract '{name}' yet", hint="run the job once, then compare"
    )
