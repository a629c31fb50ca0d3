"""Runs in MLflow: one for each model and its report, opened when the training begins.

The run of a killed training stays open; the next training of the same model continues it, and so
does the model's report. A second report about a model gets a run of its own.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from tasks.tracking.mlflow_client import (
    MAX_BATCH_METRICS,
    TAG,
    open_client,
    translate_mlflow_errors,
)

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_MAX_SEARCHED_RUNS = 100
"""Runs of one model that are searched, newest first."""


class MetricValue(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    step: int
    timestamp_ms: int

    @classmethod
    def now(cls, name: str, value: float, step: int) -> "MetricValue":
        """Return a value with the current time."""
        return cls(name, value, step, int(time.time() * 1000))


class OpenRun(NamedTuple):
    """A run that can be written to."""

    run_id: str
    start_time: float
    """Seconds since 1970; before this process, where a killed one opened the run."""
    logged: frozenset[tuple[str, int]]
    """Names and steps of the values that a killed process logged after its last checkpoint."""


def open_training_run(
    experiment: str, model_key: str, run_name: str, tags: Mapping[str, str]
) -> OpenRun:
    """Open the run of a model's training; continue the run of a killed process.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    with translate_mlflow_errors():
        run_id = _find_run_without_report(experiment, model_key)
        if run_id:
            open_client().update_run(run_id, status="RUNNING")
        else:
            all_tags = {f"{TAG}model_key": model_key, **tags}
            created = open_client().create_run(experiment, tags=all_tags, run_name=run_name)
            run_id = str(created.info.run_id)
        run = open_client().get_run(run_id)
        logged = {
            (name, metric.step)
            for name in run.data.metrics
            for metric in open_client().get_metric_history(run_id, name)
        }
        return OpenRun(run_id, run.info.start_time / 1000, frozenset(logged))


def open_report_run(experiment: str, report_key: str, *, model_key: str, run_name: str) -> str:
    """Return the run of a report: its own, else that of the model's training, else a new one.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    with translate_mlflow_errors():
        found = open_client().search_runs(
            [experiment], f"tags.`{TAG}report_key` = '{report_key}'", max_results=1
        )
        if found:
            return str(found[0].info.run_id)
        if run_id := _find_run_without_report(experiment, model_key):
            open_client().set_tag(run_id, f"{TAG}report_key", report_key)
            return run_id
        tags = {f"{TAG}report_key": report_key, f"{TAG}model_key": model_key}
        return str(open_client().create_run(experiment, tags=tags, run_name=run_name).info.run_id)


def _find_run_without_report(experiment: str, model_key: str) -> str | None:
    """Find the newest run of this model that belongs neither to a report nor to a trial."""
    runs = open_client().search_runs(
        [experiment],
        f"tags.`{TAG}model_key` = '{model_key}'",
        max_results=_MAX_SEARCHED_RUNS,
        order_by=["attributes.start_time DESC"],
    )
    others = {f"{TAG}report_key", "mlflow.parentRunId"}
    free = (run for run in runs if not others & run.data.tags.keys())
    return next((str(run.info.run_id) for run in free), None)


def log_metrics(run_id: str, values: Iterable[MetricValue]) -> None:
    """Log values of metrics to a run, many in one request.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    from mlflow.entities import Metric

    metrics = [Metric(each.name, each.value, each.timestamp_ms, each.step) for each in values]
    with translate_mlflow_errors():
        for start in range(0, len(metrics), MAX_BATCH_METRICS):
            batch = metrics[start : start + MAX_BATCH_METRICS]
            open_client().log_batch(run_id, metrics=batch)


def end_run(run_id: str, status: Status) -> None:
    """End a run with a status.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    with translate_mlflow_errors():
        open_client().set_terminated(run_id, status=status)
