"""Runs of a search in MLflow: one for the search, and inside it one for each trial."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.facts import StudyFacts
from tasks.records import Features
from tasks.tracking import mlflow_client
from tasks.tracking.mlflow_client import TAG, RunRecord
from tasks.tuning.trials import Trial

_PARENT_TAG = "mlflow.parentRunId"
"""Tag by which MLflow shows a run inside another."""

_RUN_STATUSES = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "stopped": "KILLED",
    "diverged": "FAILED",
    "refused": "FAILED",
}
"""Status of a run, by the state of its trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRuns:
    """The MLflow runs of a search."""

    experiment: str
    parent: str
    name: str
    metric: str
    features: Features

    def log_trial(self, key: str, trial: Trial, settings: Mapping[str, Any]) -> None:
        """Log a trial as a run, unless it was logged before."""
        title = f"{self.name} trial {trial.number}"
        run_id, status = _open_run(self.experiment, key, title, parent=self.parent)
        if status != "RUNNING":
            return
        metrics = {"seconds": trial.seconds, "epochs": float(len(trial.validation_losses))}
        if trial.value is not None:
            metrics[self.metric] = trial.value
        mlflow_client.write_run(
            run_id,
            self._build_record(
                params={name: str(value) for name, value in settings.items()},
                metrics=metrics,
                curves={
                    "training_loss": list(trial.training_losses),
                    "validation_loss": list(trial.validation_losses),
                },
                tags={
                    f"{TAG}trial": str(trial.number),
                    f"{TAG}state": trial.state,
                    f"{TAG}reason": trial.reason,
                    f"{TAG}model_key": trial.candidate_key,
                },
            ),
        )
        _end_run(run_id, _RUN_STATUSES[trial.state])

    def log_study(self, facts: StudyFacts, files: tuple[Path, ...]) -> None:
        """Log the result of the search and its plots in the parent run.

        The best settings are tags, not parameters: with more trials they may change.
        """
        metrics = {f"best_{self.metric}": facts.best_value, "trials": float(facts.trials)}
        tags = {f"{TAG}best_trial": str(facts.best_trial), f"{TAG}states": json.dumps(facts.states)}
        tags |= {f"{TAG}best.{key}": str(value) for key, value in facts.best_params.items()}
        record = self._build_record(params={}, metrics=metrics, curves={}, tags=tags, files=files)
        mlflow_client.write_run(self.parent, record)

    def _build_record(
        self,
        *,
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        curves: Mapping[str, list[float]],
        tags: Mapping[str, str],
        files: tuple[Path, ...] = (),
    ) -> RunRecord:
        """Build the record of a run, with what all runs of a search share."""
        facts = self.features.facts
        return RunRecord(
            params=params,
            metrics=metrics,
            curves=curves,
            tags={**tags, f"{TAG}features_key": self.features.key},
            dataset_name=self.name,
            dataset_hash=self.features.content_hash,
            dataset_facts=json.dumps({"training": facts.training, "validation": facts.validation}),
            files=files,
        )


@contextmanager
def open_search_runs(
    key: str, *, name: str, metric: str, features: Features, artifact_root: Path | None
) -> Iterator[SearchRuns]:
    """Open the search's run, and end it: as finished, or as failed after an error.

    Args:
        key: of the search; the run of an earlier one with the same key is opened again.
        name: of the job.
        metric: that is optimised.
        features: that the trials are trained on.
        artifact_root: folder for files where MLflow works embedded.
    """
    experiment = mlflow_client.open_experiment(name, artifact_root)
    run_id, _ = _open_run(experiment, key, f"tune {name}")
    status = "FAILED"
    try:
        yield SearchRuns(
            experiment=experiment, parent=run_id, name=name, metric=metric, features=features
        )
        status = "FINISHED"
    finally:
        _end_run(run_id, status)


def _open_run(
    experiment: str, key: str, title: str, *, parent: str | None = None
) -> tuple[str, str]:
    """Return id and status of the run of this key, created where there is none."""
    with mlflow_client.translate_mlflow_errors():
        client = mlflow_client.open_client()
        parent_filter = f" and tags.`{_PARENT_TAG}` = '{parent}'" if parent else ""
        query = f"tags.`{TAG}search_key` = '{key}'{parent_filter}"
        if found := client.search_runs([experiment], query, max_results=1):
            return str(found[0].info.run_id), str(found[0].info.status)
        tags = {f"{TAG}search_key": key} | ({_PARENT_TAG: parent} if parent else {})
        created = client.create_run(experiment, tags=tags, run_name=title).info
        return str(created.run_id), str(created.status)


def _end_run(run_id: str, status: str) -> None:
    """End a run with a status."""
    with mlflow_client.translate_mlflow_errors():
        mlflow_client.open_client().set_terminated(run_id, status=status)
