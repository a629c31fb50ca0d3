"""Tune: search for settings that learn more from the same data, and write them as a job file."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from flows.accept_rows import accept_rows
from flows.environment import artifact_root, settle_run
from flows.job.job import Job, load_job
from flows.results.tuned_job import Tuned, refuse_own_file, tuned_path, write_tuned
from flows.runtime.heartbeat import beating
from flows.runtime.run_names import named
from models.units import parse_duration
from tasks.features.featurize import featurize
from tasks.records import Study
from tasks.tuning.search_space import TuningConfig
from tasks.tuning.tune import search_settings


@flow(name="tune", flow_run_name=named("tune"), persist_result=False)
def tune(
    job_file: str,
    overrides: dict[str, Any] | None = None,
    *,
    trials: int | None = None,
    budget: str | None = None,
    output: str | None = None,
    force: bool = False,
) -> Tuned:
    """Search for better settings of a job, and write them beside it as NAME.tuned.yaml.

    A search that is run again goes on where it was, and with more trials or time it goes further.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
        overrides: Settings that replace the file's in this run, by dotted key, such as
            {"tuning.metric": "accuracy"}.
        trials: Settings that are tried; as many as the job says when left out.
        budget: Time after which no further trial is begun, such as 30m.
        output: Job file to write; beside the job's own when left out.
        force: Write over a file that was changed by hand.
    """
    settle_run()
    began, path = time.perf_counter(), Path(job_file)
    job = load_job(path, overrides)
    target = Path(output) if output else tuned_path(path)
    if not force:
        refuse_own_file(target)
    with beating():
        study = search_for(job, tuning_of(job, trials, budget))
    return write_tuned(study, path, target, overrides or {}, seconds=time.perf_counter() - began)


def tuning_of(job: Job, trials: int | None, budget: str | None) -> TuningConfig:
    """Return what the job searches, with other limits where they are given."""
    tuning = job.tuning or TuningConfig()
    if trials is not None:
        tuning = replace(tuning, n_trials=trials)
    if budget is not None:
        tuning = replace(tuning, budget=float(str(parse_duration(budget))))
    return tuning


def search_for(job: Job, tuning: TuningConfig) -> Study:
    """Take the steps up to the features, and search there.

    Raises:
        JobError: the job chooses its network by itself.
    """
    own = job.settings
    _, accepted = accept_rows(job, datetime.now(UTC))
    features = featurize(
        accepted, layout=job.layout, target=job.target, split=job.split, store=job.store
    )
    return search_settings(
        features,
        accepted=accepted,
        name=job.name,
        own=own,
        tuning=tuning,
        layout=job.layout,
        target=job.target,
        season=job.gate.season_length,
        artifact_root=artifact_root(),
        store=job.store,
    )
