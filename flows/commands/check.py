"""`ostinato check`: a dry run of everything but training, with an estimate of its time."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_contracts.contract import Contract
from flows.job.job import Job
from flows.job.source_columns import check_source_columns
from flows.runtime.damaged_artifacts import remake_damaged
from models.learning.plan import estimate_epochs
from tasks.dataset.split_warnings import list_split_warnings
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Features, Snapshot
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store, open_store
from tasks.training.front import resolve_downsample
from tasks.training.pretrain import estimate_pretraining_epoch_seconds
from tasks.training.selection import EPOCHS
from tasks.training.train import count_folds, count_networks, estimate_epoch_seconds
from tasks.tuning.auto_model import estimate_search_seconds
from tasks.validation.validate import accept_snapshot, create_contract, find_contract


def check_job(job: Job) -> dict[str, Any]:
    """Run the stages up to training, and time a few steps of training.

    Raises:
        OstinatoError: of the first stage that fails.
    """
    return remake_damaged(job.store, lambda: _run_stages(job))


def _run_stages(job: Job) -> dict[str, Any]:
    """Run the stages up to training, and collect what they found."""
    start_time = time.perf_counter()
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store, as_of=datetime.now(UTC), remember=False)
    contract = find_contract(Path(job.contract_path), job.name)
    check_source_columns(job, snapshot.facts.schema, contract.columns if contract else ())
    accepted = accept_snapshot(snapshot, _load_or_draft_contract(job, snapshot, store), store)
    features = make_features(
        accepted,
        store,
        layout=job.layout,
        target=job.target,
        split=job.split,
        keep_unlabelled=job.keeps_unlabelled,
    )
    prepared = time.perf_counter() - start_time
    epoch_seconds, at_most = _estimate_training_time(job, features, store)
    before = _estimate_pretraining_time(job, features, store)
    at_most += before or 0.0
    return {
        "job": job.name,
        "rows": snapshot.facts.rows,
        "expectations": accepted.facts.expectations,
        "broken": accepted.facts.broken,
        "warnings": accepted.facts.warnings,
        "training": features.facts.training,
        "validation": features.facts.validation,
        "test": features.facts.test,
        "unreadable": features.facts.unreadable,
        "resolved": _resolve_settings(job, features, store),
        "split_warnings": _list_split_warnings(job, features, store),
        "embeddings": str(features.facts.embeddings) if features.facts.embeddings else None,
        "prepared_seconds": round(prepared, 2),
        "epoch_seconds": round(epoch_seconds, 4),
        "pretraining_seconds_at_most": None if before is None else round(before, 3),
        "training_seconds_at_most": round(min(at_most, job.training.budget or at_most), 3),
    }


def format_check(result: dict[str, Any]) -> str:
    """Format the result for a terminal."""
    lines = [
        f"job {result['job']}: valid",
        f"data: {result['rows']} rows, {result['unreadable']} unreadable",
        (
            f"contract: {result['expectations'] - result['broken']} expectations met, "
            f"{result['broken']} broken"
        ),
        (
            f"sequences: {result['training']} training, {result['validation']} validation, "
            f"{result['test']} test (prepared in {result['prepared_seconds']} s)"
        ),
        (
            f"training: {result['epoch_seconds']} s an epoch, "
            f"{result['training_seconds_at_most']} s at most, without early stopping"
        ),
    ]
    if result["embeddings"]:
        lines.insert(-1, f"pretrained embeddings: {result['embeddings']}")
    if result["pretraining_seconds_at_most"] is not None:
        lines.append(
            f"pretraining: {result['pretraining_seconds_at_most']} s of these at most, once for "
            "all networks"
        )
    lines += [f"{key}: auto is {value} here" for key, value in result["resolved"].items()]
    lines += [f"warning: {warning}" for warning in result["split_warnings"]]
    if result["warnings"]:
        lines.append(result["warnings"])
    return "\n".join(lines)


def _list_split_warnings(job: Job, features: Features, store: Store) -> list[str]:
    """List what is wrong with the splits."""
    in_folds = count_folds(features, store, job.training) > 1
    return list_split_warnings(features.facts, in_folds=in_folds)


def _resolve_settings(job: Job, features: Features, store: Store) -> dict[str, Any]:
    """Return the settings of the network that are `auto`, as these rows resolve them."""
    if job.model == "auto" or job.model.downsample != "auto":
        return {}
    resolved = resolve_downsample(job.model, local_dir(store, features))
    return {"model.downsample": resolved.downsample}


def _estimate_training_time(job: Job, features: Features, store: Store) -> tuple[float, float]:
    """Estimate the seconds of an epoch, and of the whole training without early stopping."""
    if job.model == "auto":
        return estimate_search_seconds(features, store, head=job.head, training=job.training)
    epoch_seconds = estimate_epoch_seconds(
        features, store, model=job.model, head=job.head, training=job.training
    )
    networks = count_networks(features, store, job.model, job.training)
    epochs = estimate_epochs(job.training, features.facts.training)
    if job.training.ensemble == job.training.epochs == "auto":
        epochs *= EPOCHS
    return epoch_seconds, epoch_seconds * epochs * networks


def _estimate_pretraining_time(job: Job, features: Features, store: Store) -> float | None:
    """Estimate the seconds of pretraining without early stopping; None where there is none."""
    if job.training.pretrain == "none" or job.model == "auto":
        return None
    epoch_seconds = estimate_pretraining_epoch_seconds(
        features, store, model=job.model, head=job.head, training=job.training
    )
    config, _ = job.training.split_pretraining()
    at_most = epoch_seconds * estimate_epochs(config, features.facts.training)
    return at_most if config.budget is None else min(at_most, config.budget)


def _load_or_draft_contract(job: Job, snapshot: Snapshot, store: Store) -> Contract:
    """Load the job's contract, or draft it as a run would."""
    path = Path(job.contract_path)
    return find_contract(path, job.name) or create_contract(
        snapshot,
        store,
        path=path,
        name=job.name,
        required_columns=job.required_columns,
        target=job.required_target,
    )
