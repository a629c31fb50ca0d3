"""Runs of a search in MLflow: one for the search, and inside it one for each trial."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.records import Features
from tasks.tracking import mlflow_client
from tasks.tracking.mlflow_client import TAG, RunRecord
from tasks.tuning.trials import Trial

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow shows a run inside another."""

ENDS = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "stopped": "KILLED",
    "diverged": "FAILED",
    "refused": "FAILED",
}
"""How a run ends, by the state of its trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Where the runs of a search go."""

    experiment: str
    parent: str
    name: str
    metric: str
    features: Features

    def record(self, key: str, trial: Trial, settings: Mapping[str, Any]) -> None:
        """Write a trial's run, unless it is written."""
        title = f"{self.name} trial {trial.number}"
        run_id, status = open_run(self.experiment, key, title, parent=self.parent)
        if status != "RUNNING":
            return
        metrics = {"seconds": trial.seconds, "epochs": float(len(trial.validation_losses))}
        if trial.value is not None:
            metrics[self.metric] = trial.value
        mlflow_client.write_run(
            run_id,
            self.told(
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
                    f"{TAG}model_key": trial.candidate,
                },
            ),
        )
        end_run(run_id, ENDS[trial.state])

    def close(self, facts: Mapping[str, Any], files: tuple[Path, ...]) -> None:
        """Write what the search came to, with its pictures.

        The best settings are tags, not parameters: with more trials they may change.
        """
        metrics = {f"best_{self.metric}": facts["value"], "trials": float(facts["trials"])}
        tags = {f"{TAG}best_trial": str(facts["best"]), f"{TAG}states": json.dumps(facts["states"])}
        tags |= {f"{TAG}best.{key}": str(value) for key, value in facts["chosen"].items()}
        record = self.told(params={}, metrics=metrics, curves={}, tags=tags, files=files)
        mlflow_client.write_run(self.parent, record)

    def told(
        self,
        *,
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        curves: Mapping[str, list[float]],
        tags: Mapping[str, str],
        files: tuple[Path, ...] = (),
    ) -> RunRecord:
        """Add what all runs of a search share."""
        facts = self.features.facts
        return RunRecord(
            params=params,
            metrics=metrics,
            curves=curves,
            tags={**tags, f"{TAG}features_key": self.features.key},
            dataset_name=self.name,
            dataset_hash=self.features.content_hash,
            dataset_facts=json.dumps({name: facts[name] for name in ("training", "validation")}),
            files=files,
        )


@contextmanager
def search_runs(
    key: str, *, name: str, metric: str, features: Features, artifact_root: Path | None
) -> Iterator[Runs]:
    """Open the search's run, and end it: as finished, or as failed where an error comes through.

    Args:
        key: of the search; a run of the same one is opened again.
        name: of the job.
        metric: that is improved.
        features: that are learned from.
        artifact_root: folder for files where MLflow works embedded.
    """
    experiment = mlflow_client.open_experiment(name, artifact_root)
    run_id, _ = open_run(experiment, key, f"tune {name}")
    status = "FAILED"
    try:
        yield Runs(
            experiment=experiment, parent=run_id, name=name, metric=metric, features=features
        )
        status = "FINISHED"
    finally:
        end_run(run_id, status)


def open_run(
    experiment: str, key: str, title: str, *, parent: str | None = None
) -> tuple[str, str]:
    """Return the id and the status of the run of this key, made when it is not there yet."""
    with mlflow_client.answers_named():
        client = mlflow_client.client()
        inside = f" and tags.`{PARENT}` = '{parent}'" if parent else ""
        asked = f"tags.`{TAG}search_key` = '{key}'{inside}"
        if found := client.search_runs([experiment], asked, max_results=1):
            return str(found[0].info.run_id), str(found[0].info.status)
        tags = {f"{TAG}search_key": key} | ({PARENT: parent} if parent else {})
        made = client.create_run(experiment, tags=tags, run_name=title).info
        return str(made.run_id), str(made.status)


def end_run(run_id: str, status: str) -> None:
    """Close a run."""
    with mlflow_client.answers_named():
        mlflow_client.client().set_terminated(run_id, status=status)
