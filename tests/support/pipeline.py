"""The pipeline from a real store to a real registry, stage by stage, without a server."""

from pathlib import Path
from typing import NamedTuple

from flows.environment import find_artifact_root
from flows.job.job import Job, format_job
from models.learning.loop import Callbacks
from tasks.evaluation.evaluate import make_report
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Accepted, Candidate, Features, Report, Snapshot, Version
from tasks.registry import versions
from tasks.registry.register import VersionInputs, register_candidate
from tasks.storage.store import Store, open_store
from tasks.training.train import make_candidate
from tasks.validation.validate import accept_snapshot, create_contract


class Prepared(NamedTuple):
    """Artifacts that training reads."""

    store: Store
    snapshot: Snapshot
    accepted: Accepted
    features: Features


def prepare_features(job: Job) -> Prepared:
    """Take the snapshot, accept its rows and make features, without Prefect."""
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store)
    contract = create_contract(
        snapshot,
        store,
        path=Path(job.contract_path),
        name=job.name,
        required_columns=job.required_columns,
        target=job.required_target,
    )
    accepted = accept_snapshot(snapshot, contract, store)
    features = make_features(
        accepted,
        store,
        layout=job.layout,
        target=job.target,
        split=job.split,
        keep_unlabelled=job.keeps_unlabelled,
    )
    return Prepared(store, snapshot, accepted, features)


def train_job(job: Job, features: Features, store: Store) -> Candidate:
    """Train the job's model, without Prefect."""
    return make_candidate(
        features,
        store,
        model=job.model,
        head=job.head,
        training=job.training,
        callbacks=Callbacks(lambda _: None),
    )


def run_pipeline(job: Job) -> tuple[Report, Version]:
    """Run the retrain pipeline to a registered version, without Prefect."""
    store, snapshot, accepted, features = prepare_features(job)
    candidate = train_job(job, features, store)
    champion = versions.find_champion(job.name)
    report = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=champion,
        gate=job.gate,
        evaluation=job.evaluation,
        store=store,
    )
    version = register_candidate(
        VersionInputs(snapshot, accepted, features, candidate, report),
        store,
        name=job.name,
        params={},
        job_text=format_job(job),
        artifact_root=Path(find_artifact_root()),
    )
    return report, version
