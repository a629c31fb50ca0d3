"""MLflow's client, its errors as our own, experiments and runs.

Runs are addressed by their ids; MLflow's active run is never used. Versions and aliases are in
`tasks/registry/versions.py`.
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
from tasks.storage.disk_errors import translate_disk_errors
from tasks.tracking.artifact_addresses import EXPERIMENT_TAG, mend_artifact_addresses
from tasks.tracking.mlflow_database import create_mlflow_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "ostinato."
"""Prefix of every tag that is set here."""

_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""So that MLflow shows the pages for training, not those for prompts."""


MAX_BATCH_METRICS = 900
"""Metrics in one request, of which MLflow accepts at most 1000."""

_MAX_BATCH_PARAMS = 90
"""Parameters in one request, of which MLflow accepts at most 100."""

_MAX_PARAM_LENGTH, _MAX_TAG_LENGTH = 6000, 8000
"""Characters that MLflow stores of a parameter's or tag's value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The content of a run."""

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
    """Open MLflow's client, configured by its own environment variables.

    Raises:
        RegistryError: MLflow is a local database, and cannot be read or written.
    """
    from mlflow import MlflowClient, get_tracking_uri

    create_mlflow_database()
    mend_artifact_addresses(get_tracking_uri())
    return MlflowClient()


@contextmanager
def translate_mlflow_errors() -> Iterator[None]:
    """Raise MLflow's errors as our own.

    Raises:
        StoreError: its database or its files could not be written, for want of space or by a limit.
        RegistryDownError: MLflow could not be reached, or is overloaded.
        RegistryError: it refused.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    where = redact(os.environ.get("MLFLOW_TRACKING_URI", "MLflow"))
    try:
        with translate_disk_errors(where):
            yield
    except MlflowException as error:
        message = redact(str(error))
        if is_down(error):
            raise RegistryDownError.of(
                f"MLflow at {where} cannot be reached: {message.splitlines()[0][:300]}",
                found="Nothing was registered or promoted; the trained model stays in the store.",
                hint="start it or correct MLFLOW_TRACKING_URI, then run again: "
                "finished stages are not done twice",
            ) from error
        raise RegistryError.of(f"MLflow at {where} refused: {message}", hint="see above") from error
    except (ConnectionError, TimeoutError, RequestException) as error:
        raise RegistryDownError.of(
            f"the connection to MLflow at {where} broke: {redact(str(error))}",
            hint="run again once it is up",
        ) from error
    except OSError as error:
        raise RegistryError.of(
            f"files of MLflow at {where} cannot be read or written: {error}",
            hint="restore them; or, for a version whose files are gone, move its alias",
        ) from error


def is_down(error: Exception) -> bool:
    """Return whether an error means that MLflow cannot be reached, not that it refuses."""
    text = str(error)
    unreachable = "failed with exception" in text or "Max retries exceeded" in text
    overloaded = getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE"
    broken = "failed with error code 5" in text or "OperationalError" in text
    return unreachable or overloaded or broken


def open_experiment(name: str, artifact_root: Path | None) -> str:
    """Return the id of an experiment, which is created where it does not exist.

    Args:
        name: of the job.
        artifact_root: folder for its files where MLflow is a local database; None for a server,
            which chooses it.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    from mlflow.exceptions import MlflowException

    with translate_mlflow_errors():
        if found := open_client().get_experiment_by_name(name):
            return str(found.experiment_id)
        location = artifact_root.absolute().joinpath(name).as_uri() if artifact_root else None
        try:
            tags = {**_EXPERIMENT_TAGS, EXPERIMENT_TAG: name}
            return str(open_client().create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException as error:
            found = open_client().get_experiment_by_name(name)
            if found is None:
                raise error from None
            return str(found.experiment_id)


def write_run(run_id: str, record: RunRecord) -> None:
    """Write the content of a run in few requests, except what it has already.

    MLflow's parameters cannot change. A killed run may be continued after its job was edited, where
    no stage depends on the edit: its parameters stay as they were, and the tag with the job has the
    new values.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    for name, values in record.curves.items():
        with translate_mlflow_errors():
            logged = {metric.step for metric in open_client().get_metric_history(run_id, name)}
        steps = [step for step in range(len(values)) if step not in logged]
        metrics += [Metric(name, values[step], now, step) for step in steps]
    with translate_mlflow_errors():
        written = open_client().get_run(run_id).data.params
    params = [
        Param(name, value[:_MAX_PARAM_LENGTH])
        for name, value in record.params.items()
        if name not in written
    ]
    tags = [RunTag(name, value[:_MAX_TAG_LENGTH]) for name, value in record.tags.items()]
    with translate_mlflow_errors():
        for start in range(0, max(len(metrics), 1), MAX_BATCH_METRICS):
            open_client().log_batch(run_id, metrics=metrics[start : start + MAX_BATCH_METRICS])
        for start in range(0, len(params), _MAX_BATCH_PARAMS):
            open_client().log_batch(run_id, params=params[start : start + _MAX_BATCH_PARAMS])
        open_client().log_batch(run_id, tags=tags)
        open_client().log_inputs(run_id, [DatasetInput(_build_dataset(record), [])])
        for path in record.files:
            open_client().log_artifact(run_id, str(path))


def _build_dataset(record: RunRecord) -> Any:  # noqa: ANN401 - MLflow's entity
    """Build MLflow's record of the snapshot."""
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
