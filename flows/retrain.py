"""Retrain: from the newest data to a challenger that replaces the champion if it is better."""

import time
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.accept_rows import accept_rows
from flows.environment import artifact_root, settle_run
from flows.job.form import (
    BELOW,
    LOWEST,
    CellChoice,
    JobFile,
    MetricChoice,
    Moment,
    Preset,
    Rate,
    Seed,
    Settings,
    Span,
    Whole,
)
from flows.job.job import Job, flat_params, job_text
from flows.job.presets import load_asked
from flows.results.outcome import announce
from flows.runtime.heartbeat import beating
from flows.runtime.run_names import named
from tasks.evaluation.evaluate import evaluate
from tasks.features.featurize import featurize
from tasks.records import Choice, Features, Outcome
from tasks.registry.register import register
from tasks.tracking.live_metrics import Experiment
from tasks.training.train import train
from tasks.triggers.new_data import note_read
from tasks.tuning.auto_model import choose


@flow(name="retrain", flow_run_name=named(), persist_result=False)
def retrain(
    job_file: JobFile,
    overrides: Settings = BELOW,
    as_of: Moment = LOWEST,
    *,
    preset: Preset = "job",
    cell: CellChoice = "job",
    hidden_size: Whole = None,
    epochs: Whole = None,
    learning_rate: Rate = None,
    budget: Span = None,
    metric: MetricChoice = "job",
    seed: Seed = None,
) -> Outcome:
    """Train a challenger on the newest data, and let it replace the champion if it is better.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
        overrides: Any other setting that is to replace the file's in this run, by its dotted key,
            such as {"training.batch_size": 32, "gate.confidence": 0.9}. It wins over the fields above.
        as_of: See the data as it was at this time: rows that are later are left out. When empty,
            the time for which the run was scheduled.
        preset: How long and how hard is learned. job: as the job file says; quick: a first look,
            of two minutes at most; balanced: up to 50 epochs; best: five networks that answer
            together, up to 200 epochs each.
        cell: The recurrent network. job: as the job file says.
        hidden_size: Units in each layer and direction; as the job file says when empty.
        epochs: Upper bound on passes over the training rows; as the preset says when empty.
        learning_rate: Highest step size, such as 0.002; as the job file says when empty.
        budget: Time that training may take, such as 10m; as the preset says when empty.
        metric: What the gate decides by. job: as the job file says.
        seed: Another number gives another, equally good model; as the job file says when empty.
    """
    settle_run()
    fields = {
        "cell": cell,
        "hidden_size": hidden_size,
        "epochs": epochs,
        "learning_rate": learning_rate,
    }
    fields |= {"budget": budget, "metric": metric, "seed": seed}
    job = load_asked(Path(job_file), overrides, preset=preset, **fields)
    asked = as_of or flow_run.scheduled_start_time or datetime.now(UTC)
    with beating():
        outcome = retrain_job(job, aware(asked))
    if as_of is None:
        note_read(job.name, job.source, job.store)
    return outcome


def aware(time_asked: datetime) -> datetime:
    """Give a time in UTC; one without a zone is taken for that."""
    return time_asked.astimezone(UTC) if time_asked.tzinfo else time_asked.replace(tzinfo=UTC)


def retrain_job(job: Job, as_of: datetime) -> Outcome:
    """Take the six steps for a job that is read, or seven where it leaves the network open."""
    began, root = time.perf_counter(), artifact_root()
    snapshot, accepted = accept_rows(job, as_of)
    features = featurize(
        accepted, layout=job.layout, target=job.target, split=job.split, store=job.store
    )
    job, choice = settled(job, features)
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
        params=flat_params(job),
        job_text=job_text(job),
        artifact_root=root,
        store=job.store,
    )
    return announce(job, version, (snapshot, accepted, features, choice, candidate, report), began)


def settled(job: Job, features: Features) -> tuple[Job, Choice | None]:
    """Choose the network where the job leaves it open; return the job that names it."""
    if job.model != "auto":
        return job, None
    choice = choose(features, name=job.name, head=job.head, training=job.training, store=job.store)
    return job.with_choice(choice.facts), choice
