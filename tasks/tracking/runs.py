"""Runs in MLflow: one for each model and its report, opened when the model's training begins.

A training that was killed leaves its run as running; the next one of the same model takes it up,
and so does the report about it. A second report about a model gets a run of its own.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from tasks.tracking.mlflow_client import TAG, open_client, translate_mlflow_errors

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

BATCH_METRICS = 100
"""Runs of one model that are looked through, the newest first."""


class MetricValue(NamedTuple):
    """One number at one time."""

    name: str
    value: float
    step: int
    at_milliseconds: int

    @classmethod
    def now(cls, name: str, value: float, step: int) -> "MetricValue":
        """Take the time."""
        return cls(name, value, step, int(time.time() * 1000))


class OpenRun(NamedTuple):
    """A run that can be written to."""

    run_id: str
    start_time: float
    """Seconds since 1970; before this process, where a killed one began it."""
    known: frozenset[tuple[str, int]]
    """Names and steps of the numbers that a killed process has told; its checkpoint was older."""


def open_training(
    experiment: str, model_key: str, run_name: str, tags: Mapping[str, str]
) -> OpenRun:
    """Open the run of a model that is about to be trained, or go on with it after a kill.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    with translate_mlflow_errors():
        found = _find_run_without_report(experiment, model_key)
        if found:
            open_client().update_run(found, status="RUNNING")
        else:
            whole = {f"{TAG}model_key": model_key, **tags}
            found = str(
                open_client().create_run(experiment, tags=whole, run_name=run_name).info.run_id
            )
        run = open_client().get_run(found)
        known = {
            (name, one.step)
            for name in run.data.metrics
            for one in open_client().get_metric_history(found, name)
        }
        return OpenRun(found, run.info.start_time / 1000, frozenset(known))


def open_report(experiment: str, report_key: str, *, model_key: str, run_name: str) -> str:
    """Return the run of a report: its own, else that of the model's training, else a new one."""
    with translate_mlflow_errors():
        found = open_client().search_runs(
            [experiment], f"tags.`{TAG}report_key` = '{report_key}'", max_results=1
        )
        if found:
            return str(found[0].info.run_id)
        if trained := _find_run_without_report(experiment, model_key):
            open_client().set_tag(trained, f"{TAG}report_key", report_key)
            return trained
        tags = {f"{TAG}report_key": report_key, f"{TAG}model_key": model_key}
        return str(open_client().create_run(experiment, tags=tags, run_name=run_name).info.run_id)


def _find_run_without_report(experiment: str, model_key: str) -> str | None:
    """Find the newest run of this model that no report has taken up, and that is no trial's."""
    runs = open_client().search_runs(
        [experiment],
        f"tags.`{TAG}model_key` = '{model_key}'",
        max_results=BATCH_METRICS,
        order_by=["attributes.start_time DESC"],
    )
    others = {f"{TAG}report_key", "mlflow.parentRunId"}
    free = (run for run in runs if not others & run.data.tags.keys())
    return next((str(run.info.run_id) for run in free), None)


def log_metrics(run_id: str, told: Iterable[MetricValue]) -> None:
    """Write numbers into a run, many in one request.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    from mlflow.entities import Metric

    metrics = [Metric(one.name, one.value, one.at_milliseconds, one.step) for one in told]
    with translate_mlflow_errors():
        for start in range(0, len(metrics), 900):
            open_client().log_batch(run_id, metrics=metrics[start : start + 900])


def end_run(run_id: str, status: Status) -> None:
    """Return how a run ended.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    with translate_mlflow_errors():
        open_client().set_terminated(run_id, status=status)
