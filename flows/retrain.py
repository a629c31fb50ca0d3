"""Retrain: train a challenger on the newest data; it replaces the champion if it is better."""

import time
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.accept_rows import accept_rows
from flows.environment import configure_run, find_artifact_root
from flows.job.form import (
    LAST_FIELD,
    NEXT_TO_LAST_FIELD,
    CellChoice,
    Duration,
    JobFile,
    LearningRate,
    MetricChoice,
    Overrides,
    PositiveInteger,
    Preset,
    Seed,
    Timestamp,
)
from flows.job.job import Job, flatten_params, format_job
from flows.job.presets import load_requested_job
from flows.results.outcome import RunArtifacts, report_outcome
from flows.results.serving_baseline import ServingBaseline
from flows.runtime.concurrency import keep_running_without_slot
from flows.runtime.damaged_artifacts import remake_damaged
from flows.runtime.heartbeat import send_heartbeats
from flows.runtime.run_names import build_run_name
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.fallback import make_fallback
from tasks.features.featurize import featurize
from tasks.records import Choice, Features, Outcome
from tasks.registry.register import register
from tasks.tracking.live_metrics import Experiment
from tasks.training.train import train
from tasks.triggers.new_data import record_source_read
from tasks.tuning.auto_model import choose

keep_running_without_slot()


@flow(name="retrain", flow_run_name=build_run_name(), persist_result=False)
def retrain(
    job_file: JobFile,
    overrides: Overrides = NEXT_TO_LAST_FIELD,
    as_of: Timestamp = LAST_FIELD,
    *,
    preset: Preset = "job",
    cell: CellChoice = "job",
    hidden_size: PositiveInteger = None,
    epochs: PositiveInteger = None,
    learning_rate: LearningRate = None,
    budget: Duration = None,
    metric: MetricChoice = "job",
    seed: Seed = None,
) -> Outcome:
    """Train a challenger on the newest data; it replaces the champion if it is better.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
        overrides: Any other setting to replace the file's in this run, by its dotted key, such as
            {"training.batch_size": 32, "gate.confidence": 0.9}. It overrides the fields above.
        as_of: Use the data as it was at this time, without later rows. When empty, the time for
            which the run was scheduled.
        preset: Length of the training. job: as the job file says; quick: trains for 30
            seconds at most; balanced: for 3 minutes; best: several recipes and cells, the best of
            them combined, for 10 minutes in all.
        cell: Type of the recurrent cell. job: as the job file says.
        hidden_size: Units per layer and direction; as the job file says when empty.
        epochs: Upper bound on passes over the training rows; as the preset says when empty.
        learning_rate: Peak learning rate, such as 0.002; as the job file says when empty.
        budget: Time that training may take, such as 10m; as the preset says when empty.
        metric: Metric of the gate's decision. job: as the job file says.
        seed: Seed of all random numbers; as the job file says when empty.
    """
    configure_run()
    fields: dict[str, object] = {"cell": cell, "hidden_size": hidden_size, "epochs": epochs}
    fields |= {"learning_rate": learning_rate, "budget": budget, "metric": metric, "seed": seed}
    job = load_requested_job(Path(job_file), overrides, preset=preset, **fields)
    snapshot_time = as_of or flow_run.scheduled_start_time or datetime.now(UTC)
    with send_heartbeats():
        outcome = remake_damaged(job.store, lambda: retrain_job(job, _to_utc(snapshot_time)))
    if as_of is None:
        record_source_read(job.name, job.source, job.store)
    return outcome


def retrain_job(job: Job, as_of: datetime) -> Outcome:
    """Run the six stages of a job, and the choice of a network where it has `model: auto`."""
    start_time, root = time.perf_counter(), find_artifact_root()
    snapshot, accepted = accept_rows(job, as_of)
    features = featurize(
        accepted,
        layout=job.layout,
        target=job.target,
        split=job.split,
        keep_unlabelled=job.keeps_unlabelled,
        store=job.store,
    )
    job, choice = _choose_network(job, features)
    candidate = train(
        features,
        experiment=Experiment(job.name, root),
        **job.settings._asdict(),
        store=job.store,
    )
    report = evaluate(
        candidate,
        name=job.name,
        features=features,
        accepted=accepted,
        gate=job.gate,
        evaluation=job.evaluation,
        choice=choice,
        store=job.store,
    )
    version = register(
        report,
        snapshot=snapshot,
        accepted=accepted,
        features=features,
        candidate=candidate,
        name=job.name,
        params=flatten_params(job),
        job_text=format_job(job),
        artifact_root=root,
        store=job.store,
    )
    artifacts = RunArtifacts(snapshot, accepted, features, choice, candidate, report)
    serving = _serve_baseline(job, artifacts, root)
    return report_outcome(job, version, artifacts, start_time, serving=serving)


def _serve_baseline(job: Job, artifacts: RunArtifacts, root: str | None) -> ServingBaseline | None:
    """Register the baseline that no network has beaten, and let it serve; None where one has."""
    network = artifacts.report
    if network.facts.decision != "keep" or job.gate.fallback == "none":
        return None
    fallback = make_fallback(
        network,
        name=job.name,
        features=artifacts.features,
        accepted=artifacts.accepted,
        head=job.head,
        gate=job.gate,
        evaluation=job.evaluation,
        store=job.store,
    )
    if fallback is None:
        return None
    if fallback.report is None or not fallback.is_registered:
        return ServingBaseline(fallback, None)
    version = register(
        fallback.report,
        snapshot=artifacts.snapshot,
        accepted=artifacts.accepted,
        features=artifacts.features,
        candidate=fallback.candidate,
        name=job.name,
        params=flatten_params(job),
        job_text=format_job(job),
        artifact_root=root,
        store=job.store,
        fallback_for=network,
    )
    return ServingBaseline(fallback, version)


def _choose_network(job: Job, features: Features) -> tuple[Job, Choice | None]:
    """Choose a network where the job has `model: auto`, and return the job with it."""
    if job.model != "auto":
        return job, None
    choice = choose(features, name=job.name, head=job.head, training=job.training, store=job.store)
    return job.with_choice(choice.facts), choice


def _to_utc(moment: datetime) -> datetime:
    """Convert a time to UTC; one without a zone is taken as UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
