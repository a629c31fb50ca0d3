"""The only door to MLflow: runs, versions and aliases, by explicit ids and never by what is active.

"There is no champion" and "nobody can be asked" are different answers: the first is None, the
second raises, so an outage never promotes anything.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.artifacts import Champion
from tasks.errors import RegistryDownError, RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TAG = "ostinato."
"""Beginning of every tag of ours."""

EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow show the pages for training rather than those for prompts."""

ABSENT = "RESOURCE_DOES_NOT_EXIST"


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


def client() -> "MlflowClient":
    """Open MLflow as its own environment variables say."""
    from mlflow import MlflowClient

    return MlflowClient()


@contextmanager
def answers_named() -> Iterator[None]:
    """Turn MLflow's errors into ours: nobody answers, or the answer is no.

    Raises:
        RegistryDownError: MLflow could not be reached, or is overloaded.
        RegistryError: it refused.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    where = os.environ.get("MLFLOW_TRACKING_URI", "MLflow")
    try:
        yield
    except MlflowException as error:
        if is_down(error):
            raise RegistryDownError.of(
                f"MLflow at {where} cannot be reached: {str(error).splitlines()[0][:300]}",
                found="Nothing was registered or promoted; the trained model stays in the store.",
                mend="start it or correct MLFLOW_TRACKING_URI, then run again: "
                "finished stages are not done twice",
            ) from error
        raise RegistryError.of(f"MLflow at {where} refused: {error}", mend="see above") from error
    except (ConnectionError, TimeoutError, RequestException) as error:
        raise RegistryDownError.of(
            f"MLflow at {where} broke off: {error}", mend="run again once it is up"
        ) from error
    except OSError as error:
        raise RegistryError.of(
            f"files of MLflow at {where} cannot be read or written: {error}",
            mend="restore them; or, for a version whose files are gone, move its alias",
        ) from error


def is_down(error: Exception) -> bool:
    """Tell a server that cannot be asked from one that says no."""
    text = str(error)
    unreachable = "failed with exception" in text or "Max retries exceeded" in text
    overloaded = getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE"
    broken = "failed with error code 5" in text or "OperationalError" in text
    return unreachable or overloaded or broken


def find_champion(name: str) -> Champion | None:
    """Return the version that serves under this name, or None when nothing does yet.

    Raises:
        RegistryError: the registry cannot be asked.
    """
    version = find_alias(name, "champion")
    if version is None:
        return None
    return Champion(
        name=name,
        version=str(version.version),
        model_key=version.tags.get(f"{TAG}model_key", ""),
        report_key=version.tags.get(f"{TAG}report_key", ""),
        accepted_key=version.tags.get(f"{TAG}accepted_key", ""),
        source_uri=version.source or "",
    )


def find_alias(name: str, alias: str) -> "ModelVersion | None":
    """Return the version with that alias, or None when there is none."""
    from mlflow.exceptions import MlflowException

    with answers_named():
        try:
            aliases = client().get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == ABSENT:
                return None
            raise
        return client().get_model_version(name, aliases[alias]) if alias in aliases else None


def fetch_bundle(champion: Champion) -> Path:
    """Download a version's bundle and return its folder."""
    from mlflow.artifacts import download_artifacts

    with answers_named():
        uri = f"models:/{champion.name}/{champion.version}"
        return Path(download_artifacts(artifact_uri=uri)) / "artifacts" / "bundle"


def find_version(name: str, model_key: str) -> "ModelVersion | None":
    """Return the newest version that was made of this model, or None."""
    versions = versions_of(name)
    ours = [v for v in versions if v.tags.get(f"{TAG}model_key") == model_key]
    return max(ours, key=lambda v: int(v.version), default=None)


def versions_of(name: str) -> "list[ModelVersion]":
    """Return every version under this name."""
    with answers_named():
        return list(client().search_model_versions(f"name = '{name}'", max_results=10_000))


def open_experiment(name: str, artifact_root: Path | None) -> str:
    """Return the experiment's id, made when it is not there yet.

    Args:
        name: the job's.
        artifact_root: folder for its files where MLflow is a local database; a server decides
            for itself.
    """
    from mlflow.exceptions import MlflowException

    with answers_named():
        if found := client().get_experiment_by_name(name):
            return str(found.experiment_id)
        location = artifact_root.absolute().joinpath(name).as_uri() if artifact_root else None
        try:
            return str(
                client().create_experiment(name, artifact_location=location, tags=EXPERIMENT)
            )
        except MlflowException as error:
            found = client().get_experiment_by_name(name)
            if found is None:
                raise error from None
            return str(found.experiment_id)


def write_run(run_id: str, record: RunRecord) -> None:
    """Write all that is told about a run, in few requests; of curves what is not there yet."""
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    for name, values in record.curves.items():
        with answers_named():
            known = {metric.step for metric in client().get_metric_history(run_id, name)}
        steps = [step for step in range(len(values)) if step not in known]
        metrics += [Metric(name, values[step], now, step) for step in steps]
    params = [Param(name, value[:6000]) for name, value in record.params.items()]
    tags = [RunTag(name, value[:8000]) for name, value in record.tags.items()]
    with answers_named():
        for start in range(0, max(len(metrics), 1), 900):
            client().log_batch(run_id, metrics=metrics[start : start + 900])
        for start in range(0, len(params), 90):
            client().log_batch(run_id, params=params[start : start + 90])
        client().log_batch(run_id, tags=tags)
        client().log_inputs(run_id, [DatasetInput(dataset_of(record), [])])
        for path in record.files:
            client().log_artifact(run_id, str(path))


def dataset_of(record: RunRecord) -> Any:  # noqa: ANN401 - MLflow's entity
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
    with answers_named():
        client().set_terminated(run_id, status="FINISHED")


def experiment_of(run_id: str) -> str:
    """Return the id of the experiment that a run belongs to."""
    with answers_named():
        return str(client().get_run(run_id).info.experiment_id)


def create_version(
    name: str, *, experiment: str, run_id: str, folder: Path, tags: Mapping[str, str]
) -> "ModelVersion":
    """Register a saved model as the next version under this name."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    with answers_named():
        try:
            client().create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        logged = client().create_logged_model(experiment, name=name, source_run_id=run_id)
        client().log_model_artifacts(logged.model_id, str(folder))
        client().finalize_logged_model(logged.model_id, "READY")
        client().log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return client().create_model_version(
            name,
            source=f"models:/{logged.model_id}",
            run_id=run_id,
            tags=dict(tags),
            model_id=logged.model_id,
        )


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> None:
    """Write tags on a version."""
    with answers_named():
        for key, value in tags.items():
            client().set_model_version_tag(name, version, key, value)


def describe_version(name: str, version: str, text: str) -> None:
    """Write what MLflow shows on a version's page, in Markdown."""
    with answers_named():
        client().update_model_version(name, version, text)


def move_alias(name: str, alias: str, version: str) -> None:
    """Point an alias at a version, and read it back.

    Raises:
        RegistryError: another program moved it in the same moment.
    """
    with answers_named():
        client().set_registered_model_alias(name, alias, version)
    found = find_alias(name, alias)
    if found is None or str(found.version) != version:
        raise RegistryError.of(
            f"alias '{alias}' of '{name}' was moved by somebody else just now",
            mend="look at the registered model in MLflow, then run again",
        )


def model_names() -> list[str]:
    """Name every registered model."""
    with answers_named():
        return [model.name for model in client().search_registered_models(max_results=1000)]


def aliased_versions(name: str) -> set[str]:
    """Return the numbers of the versions that an alias points at."""
    with answers_named():
        return {str(v) for v in client().get_registered_model(name).aliases.values()}
