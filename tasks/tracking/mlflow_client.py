"""The only door to MLflow: its client, its errors in our words, and runs, by explicit ids.

Runs are never those that happen to be active. Versions and aliases are in tasks.registry.versions.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import RegistryDownError, RegistryError
from tasks.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "ostinato."
"""Beginning of every tag of ours."""

EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow show the pages for training rather than those for prompts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What is told about a run."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, list[float]]
    """Values by epoch."""
    tags: Mapping[str, str]
    dataset_name: str
    dataset_hash: str
    dataset_facts: str
    """JSON with the snapshot's rows and schema."""
    files: tuple[Path, ...]


def open_client() -> "MlflowClient":
    """Open MLflow as its own environment variables say."""
    from mlflow import MlflowClient

    return MlflowClient()


@contextmanager
def translate_mlflow_errors() -> Iterator[None]:
    """Turn MLflow's errors into ours: nobody answers, or the answer is no.

    Raises:
        RegistryDownError: MLflow could not be reached, or is overloaded.
        RegistryError: it refused.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    where = redact(os.environ.get("MLFLOW_TRACKING_URI", "MLflow"))
    try:
        yield
    except MlflowException as error:
        said = redact(str(error))
        if is_down(error):
            raise RegistryDownError.of(
                f"MLflow at {where} cannot be reached: {said.splitlines()[0][:300]}",
                found="Nothing was registered or promoted; the trained model stays in the store.",
                hint="start it or correct MLFLOW_TRACKING_URI, then run again: "
                "finished stages are not done twice",
            ) from error
        raise RegistryError.of(f"MLflow at {where} refused: {said}", hint="see above") from error
    except (ConnectionError, TimeoutError, RequestException) as error:
        raise RegistryDownError.of(
            f"MLflow at {where} broke off: {redact(str(error))}", hint="run again once it is up"
        ) from error
    except OSError as error:
        raise RegistryError.of(
            f"files of MLflow at {where} cannot be read or written: {error}",
            hint="restore them; or, for a version whose files are gone, move its alias",
        ) from error


def is_down(error: Exception) -> bool:
    """Distinguish a server that cannot be reached from one that refuses."""
    text = str(error)
    unreachable = "failed with exception" in text or "Max retries exceeded" in text
    overloaded = getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE"
    broken = "failed with error code 5" in text or "OperationalError" in text
    return unreachable or overloaded or broken


def open_experiment(name: str, artifact_root: Path | None) -> str:
    """Return the experiment's id, made when it is not there yet.

    Args:
        name: the job's.
        artifact_root: folder for its files where MLflow is a local database; a server decides
            for itself.
    """
    from mlflow.exceptions import MlflowException

    with translate_mlflow_errors():
        if found := open_client().get_experiment_by_name(name):
            return str(found.experiment_id)
        location = artifact_root.absolute().joinpath(name).as_uri() if artifact_root else None
        try:
            return str(
                open_client().create_experiment(name, artifact_location=location, tags=EXPERIMENT)
            )
        except MlflowException as error:
            found = open_client().get_experiment_by_name(name)
            if found is None:
                raise error from None
            return str(found.experiment_id)


def write_run(run_id: str, record: RunRecord) -> None:
    """Write all that is told about a run, in few requests; of curves what is not there yet.

    MLflow lets no parameter change, and a killed run goes on after its job was edited where no
    step depends on it: the parameters stay as they were, and the tag with the job says the rest.
    """
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    for name, values in record.curves.items():
        with translate_mlflow_errors():
            known = {metric.step for metric in open_client().get_metric_history(run_id, name)}
        steps = [step for step in range(len(values)) if step not in known]
        metrics += [Metric(name, values[step], now, step) for step in steps]
    with translate_mlflow_errors():
        written = open_client().get_run(run_id).data.params
    params = [
        Param(name, value[:6000]) for name, value in record.params.items() if name not in written
    ]
    tags = [RunTag(name, value[:8000]) for name, value in record.tags.items()]
    with translate_mlflow_errors():
        for start in range(0, max(len(metrics), 1), 900):
            open_client().log_batch(run_id, metrics=metrics[start : start + 900])
        for start in range(0, len(params), 90):
            open_client().log_batch(run_id, params=params[start : start + 90])
        open_client().log_batch(run_id, tags=tags)
        open_client().log_inputs(run_id, [DatasetInput(_build_dataset(record), [])])
        for path in record.files:
            open_client().log_artifact(run_id, str(path))


def _build_dataset(record: RunRecord) -> Any:  # noqa: ANN401 - MLflow's entity
    """Describe the snapshot that was learned from."""
    from mlflow.entities import Dataset

    return Dataset(
        name=record.dataset_name,
        digest=record.dataset_hash[:32],
        source_type="ostinato",
        source=record.dataset_facts,
        profile=record.dataset_facts,
    )


def close_run(run_id: str) -> None:
    """Mark a run as finished."""
    with translate_mlflow_errors():
        open_client().set_terminated(run_id, status="FINISHED")


def find_experiment_id(run_id: str) -> str:
    """Return the id of the experiment that a run belongs to."""
    with translate_mlflow_errors():
        return str(open_client().get_run(run_id).info.experiment_id)
