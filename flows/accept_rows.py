"""The first two stages of every flow: ingest the newest rows, and validate them."""

from datetime import datetime
from pathlib import Path

from flows.job.job import Job
from flows.job.source_columns import check_source_columns
from tasks.ingestion.ingest import ingest
from tasks.records import Accepted, Snapshot
from tasks.validation.validate import find_contract, validate


def accept_rows(job: Job, as_of: datetime) -> tuple[Snapshot, Accepted]:
    """Snapshot a job's source as of a time, and accept the rows that satisfy the contract."""
    snapshot = ingest(job.source, job.store, as_of=as_of)
    contract = find_contract(Path(job.contract_path), job.name)
    check_source_columns(job, snapshot.facts.schema, contract.columns if contract else ())
    accepted = validate(
        snapshot,
        name=job.name,
        contract_path=job.contract_path,
        required_columns=job.required_columns,
        target=job.required_target,
        store=job.store,
    )
    return snapshot, accepted
