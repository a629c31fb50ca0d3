"""Everything but training: is the job valid, the data good, and how long will it take."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_contracts.contract import Contract
from flows.job.job import Job
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Features, Snapshot
from tasks.storage.store import Store, open_store
from tasks.training.train import time_epoch
from tasks.tuning.auto_model import time_search
from tasks.validation.validate import draft, hold, open_contract


def check_job(job: Job) -> dict[str, Any]:
    """Take the stages up to training, and time a few steps of it.

    Raises:
        OstinatoError: the first stage that refuses says why.
    """
    began = time.perf_counter()
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store, as_of=datetime.now(UTC), remember=False)
    accepted = hold(snapshot, contract_of(job, snapshot, store), store)
    features = make_features(accepted, store, layout=job.layout, target=job.target, split=job.split)
    prepared = time.perf_counter() - began
    epoch_seconds, at_most = time_training(job, features, store)
    return {
        "job": job.name,
        "rows": snapshot.facts["rows"],
        "promises": accepted.facts["promises"],
        "broken": accepted.facts["broken"],
        "warnings": accepted.facts["warnings"],
        "training": features.facts["training"],
        "validation": features.facts["validation"],
        "test": features.facts["test"],
        "unreadable": features.facts["unreadable"],
        "prepared_seconds": round(prepared, 2),
        "epoch_seconds": round(epoch_seconds, 4),
        "training_seconds_at_most": round(min(at_most, job.training.budget or at_most), 3),
    }


def time_training(job: Job, features: Features, store: Store) -> tuple[float, float]:
    """Estimate the seconds of an epoch, and of all that are trained if patience saves none."""
    if job.model == "auto":
        return time_search(features, store, head=job.head, training=job.training)
    epoch_seconds = time_epoch(
        features, store, model=job.model, head=job.head, training=job.training
    )
    return epoch_seconds, epoch_seconds * job.training.epochs


def contract_of(job: Job, snapshot: Snapshot, store: Store) -> Contract:
    """Read the job's contract, or draft it as a run would."""
    path = Path(job.contract_path)
    return open_contract(path, job.name) or draft(
        snapshot, store, path=path, name=job.name, needed=job.needed, target=job.target.required
    )


def lines(found: dict[str, Any]) -> str:
    """Say it to a person."""
    text = [
        f"job {found['job']}: valid",
        f"data: {found['rows']} rows, {found['unreadable']} without a usable sequence",
        f"contract: {found['promises'] - found['broken']} promises kept, {found['broken']} broken",
        (
            f"sequences: {found['training']} training, {found['validation']} validation, "
            f"{found['test']} test (prepared in {found['prepared_seconds']} s)"
        ),
        (
            f"training: {found['epoch_seconds']} s an epoch, "
            f"{found['training_seconds_at_most']} s if no epoch is saved by patience"
        ),
    ]
    if found["warnings"]:
        text.append(found["warnings"])
    return "\n".join(text)
