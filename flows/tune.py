"""Tune: search for settings with a better validation metric, and write them as a job file."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from flows.accept_rows import accept_rows
from flows.environment import configure_run, find_artifact_root
from flows.job.job import Job, load_job
from flows.results.tuned_job import TuneResult, build_tuned_path, check_overwrite, write_tuned_job
from flows.runtime.concurrency import keep_running_without_slot
from flows.runtime.damaged_artifacts import remake_damaged
from flows.runtime.heartbeat import send_heartbeats
from flows.runtime.run_names import build_run_name
from models.units import parse_duration
from tasks.features.featurize import featurize
from tasks.records import Study
from tasks.tuning.search_space import TuningConfig
from tasks.tuning.tune import search_settings

keep_running_without_slot()


@flow(name="tune", flow_run_name=build_run_name("tune"), persist_result=False)
def tune(
    job_file: str,
    overrides: dict[str, Any] | None = None,
    *,
    trials: int | None = None,
    budget: str | None = None,
    output: str | None = None,
    force: bool = False,
) -> TuneResult:
    """Search for better settings of a job, and write them next to it as NAME.tuned.yaml.

    A search that is run again continues where it stopped; more trials or time extend it.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
        overrides: Settings that replace the file's in this run, by dotted key, such as
            {"tuning.metric": "accuracy"}.
        trials: Number of trials; by default as many as the job says.
        budget: Time after which no further trial starts, such as 30m.
        output: Job file to write; by default next to the job's own.
        force: Overwrite a file that was changed by hand.
    """
    configure_run()
    start_time, path = time.perf_counter(), Path(job_file)
    job = load_job(path, overrides)
    target = Path(output) if output else build_tuned_path(path)
    if not force:
        check_overwrite(target)
    with send_heartbeats():
        tuning = _build_tuning_config(job, trials, budget)
        study = remake_damaged(job.store, lambda: _run_search(job, tuning))
    return write_tuned_job(
        study, path, target, overrides or {}, seconds=time.perf_counter() - start_time
    )


def _build_tuning_config(job: Job, trials: int | None, budget: str | None) -> TuningConfig:
    """Return the job's tuning section, with other limits where they are given."""
    tuning = job.tuning or TuningConfig()
    if trials is not None:
        tuning = replace(tuning, n_trials=trials)
    if budget is not None:
        tuning = replace(tuning, budget=float(str(parse_duration(budget))))
    return tuning


def _run_search(job: Job, tuning: TuningConfig) -> Study:
    """Run the stages up to the features, and search on them.

    Raises:
        JobError: the job has `model: auto`.
    """
    # First, because a job without settings to tune is refused before any work is done.
    settings = job.settings
    _, accepted = accept_rows(job, datetime.now(UTC))
    features = featurize(
        accepted,
        layout=job.layout,
        target=job.target,
        split=job.split,
        keep_unlabelled=job.keeps_unlabelled,
        store=job.store,
    )
    return search_settings(
        features,
        accepted=accepted,
        name=job.name,
        base=settings,
        tuning=tuning,
        layout=job.layout,
        target=job.target,
        season_length=job.gate.season_length,
        artifact_root=find_artifact_root(),
        store=job.store,
    )
