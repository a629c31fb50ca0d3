"""Contracts on the command line: draft one from data, check data against it, show what differs."""

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
from tasks.ingestion.config import OnChangeConfig, SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.ingestion.source_changes import difference
from tasks.records import Accepted, Snapshot
from tasks.retention.artifacts import manifests
from tasks.storage.artifacts import find_key
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.validation.validate import (
    broken_table,
    contract_at,
    contract_of,
    judge,
    open_contract,
    write_contract,
)


def source_at(data: str, query: str | None = None) -> SourceConfig:
    """Describe data named on the command line; whatever changed in it is no matter there.

    Raises:
        JobError: it cannot be a source.
    """
    try:
        changes = OnChangeConfig(missing="ignore", row_loss="ignore", schema="ignore")
        return SourceConfig(uri=data, query=query, on_change=changes)
    except ValueError as error:
        raise JobError.of(f"'{data}' cannot be read: {error}") from error


def draft_file(
    data: str, output: Path, *, query: str | None, target: str | None, force: bool
) -> Contract:
    """Draft a contract over all columns of some data, and write it.

    Raises:
        SourceError: the data cannot be read.
        JobError: the file is there already, or the target is not in the data.
    """
    if output.exists() and not force:
        raise JobError.of(f"{output} is there already", mend="--force writes over it")
    store = open_store(StoreConfig())
    snapshot = take_snapshot(source_at(data, query), store, remember=False)
    rows = open_snapshot(store, snapshot)
    columns = tuple(rows.schema.names())
    if target and target not in columns:
        raise JobError.of(
            f"--target: column '{target}' is missing", found=f"Columns: {', '.join(columns)}"
        )
    contract = draft_contract(rows.scan(), name=output.stem, needed=columns, target=target)
    write_contract(contract, output)
    return contract


def check_data(
    data: str, contract_path: Path, *, query: str | None, quarantine: Path | None
) -> dict[str, Any]:
    """Hold data to a contract, as a run would, and tell what comes of it.

    Args:
        data: file, glob, folder, table or database.
        contract_path: the contract's file.
        query: table's name or SELECT, for a database.
        quarantine: Parquet file for the rows that break a critical promise.

    Raises:
        SourceError: the data cannot be read.
        JobError: the contract cannot be read, or asks for what cannot be checked.
        ValidatorError: the check itself broke.
    """
    contract, store = contract_at(contract_path), open_store(StoreConfig())
    snapshot = take_snapshot(source_at(data, query), store, remember=False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        judged = judge(snapshot, contract, store, folder)
        if quarantine and judged.bad_rows:
            quarantine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "quarantine.parquet", quarantine)
    total = snapshot.facts["rows"]
    broken = [finding for finding in judged.checked.findings if not finding.kept]
    return {
        "contract": contract.name,
        "rows": total,
        "accepted": 0 if judged.refused else total - judged.bad_rows,
        "quarantined": judged.bad_rows,
        "verdict": "refused" if judged.refused else "accepted",
        "reasons": [asdict(finding) for finding in broken],
    }


def check_lines(found: dict[str, Any]) -> str:
    """Say it to a person."""
    text = [
        f"contract {found['contract']}: {found['verdict']}",
        f"rows: {found['rows']}, {found['accepted']} accepted, {found['quarantined']} bad",
    ]
    if found["reasons"]:
        text.append(broken_table([Finding(**reason) for reason in found["reasons"]]))
    return "\n".join(text)


def diff_job(job: Job) -> dict[str, Any]:
    """Tell how contract and data differ from those of the job's last run.

    Raises:
        JobError: the job has no contract yet.
        ContractError: no run has come past the contract yet.
        SourceError: the data cannot be read.
    """
    store = open_store(job.store)
    contract = open_contract(Path(job.contract_path), job.name)
    if contract is None:
        raise JobError.of(
            f"job '{job.name}' has no contract yet",
            mend=f"draft one: ostinato contract draft DATA --output {job.contract_path}",
        )
    accepted, before = last_run(store, contract.name)
    kept = contract_of(store, accepted)
    now = take_snapshot(job.source, store, remember=False)
    fresh = draft_contract(
        open_snapshot(store, now).scan(),
        name=contract.name,
        needed=tuple(job.needed),
        target=job.target.column,
    )
    return {
        "job": job.name,
        "contract": compare_contracts(kept, contract),
        "columns": difference(before.facts["schema"], now.facts["schema"]) or "",
        "rows": [before.facts["rows"], now.facts["rows"]],
        "draft": compare_contracts(contract, fresh),
    }


def last_run(store: Store, name: str) -> tuple[Accepted, Snapshot]:
    """Find the newest rows that kept this contract, and the snapshot that they are of.

    Raises:
        ContractError: there are none.
    """
    held = [
        manifest
        for manifest in manifests(store)
        if manifest["stage"] == "validate" and manifest["recipe"]["config"]["name"] == name
    ]
    if held:
        newest = max(held, key=lambda manifest: str(manifest["created_at"]))
        accepted = find_key(store, "validate", newest["key"])
        snapshot = find_key(store, "ingest", newest["recipe"]["inputs"]["snapshot"])
        if accepted and snapshot:
            return Accepted(accepted), Snapshot(snapshot)
    raise ContractError.of(
        f"no run has held data to contract '{name}' yet", mend="run the job once, then compare"
    )


def diff_lines(found: dict[str, Any]) -> str:
    """Say it to a person."""
    before, now = found["rows"]
    text = [
        f"{found['job']}: since the last run that kept the contract",
        f"rows      {before} -> {now}",
        f"columns   {found['columns'] or 'the same'}",
        "contract  " + ("\n          ".join(found["contract"]) or "the same"),
        "today's data would be drafted with",
        "          " + ("\n          ".join(found["draft"]) or "the same contract"),
    ]
    return "\n".join(text)
