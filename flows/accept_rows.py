"""The first two steps of every flow: the newest rows, held to their contract."""

from datetime import datetime

from flows.job.job import Job
from tasks.ingestion.ingest import ingest
from tasks.records import Accepted, Snapshot
from tasks.validation.validate import validate


def accept_rows(job: Job, as_of: datetime) -> tuple[Snapshot, Accepted]:
    """Freeze a job's source as it was at a time, and accept the rows that keep the contract."""
    snapshot = ingest(job.source, job.store, as_of=as_of)
    accepted = validate(
        snapshot,
        name=job.name,
        contract_path=job.contract_path,
        needed=job.needed,
        target=job.target.required,
        store=job.store,
    )
    return snapshot, accepted
