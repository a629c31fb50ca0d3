"""Versions of models in MLflow's registry, and the aliases that point at them.

"There is no champion" and "MLflow cannot be reached" are different: the first is None, the second
an error, so that an outage never promotes a model. Aliases are moved by `aliases.py` alone.
"""

import atexit
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from tasks.errors import DamagedVersionError, RegistryError
from tasks.records import Champion
from tasks.serving.package_files import find_package_damage
from tasks.tracking.mlflow_client import TAG, is_down, open_client, translate_mlflow_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_ABSENT = "RESOURCE_DOES_NOT_EXIST"


def find_champion(name: str) -> Champion | None:
    """Return the champion of a model; None where there is none yet.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    version = _find_alias(name, "champion")
    if version is None:
        return None
    return Champion(
        name=name,
        version=str(version.version),
        model_key=version.tags.get(f"{TAG}model_key", ""),
        report_key=version.tags.get(f"{TAG}report_key", ""),
        accepted_key=version.tags.get(f"{TAG}accepted_key", ""),
        source_uri=version.source or "",
        fallback=version.tags.get(f"{TAG}fallback"),
        fallback_for=version.tags.get(f"{TAG}fallback_for"),
    )


def _find_alias(name: str, alias: str) -> "ModelVersion | None":
    """Return the version with this alias; None where there is none."""
    number = get_aliases(name).get(alias)
    return get_version(name, number) if number else None


def fetch_bundle(champion: Champion) -> Path:
    """Copy a version's bundle, check it, and return its folder; raises as `fetch_files`."""
    return fetch_files(champion.name, champion.version) / "artifacts" / "bundle"


def fetch_files(name: str, version: str) -> Path:
    """Copy a version's files into a folder of this process, check them, and return the folder.

    They are copied where MLflow keeps them on this machine too, so that what is used is what was
    checked. The folder is deleted when the process ends.

    Raises:
        DamagedVersionError: its files are not those that were registered, or it has no tag to
            check them by.
        RegistryError: MLflow cannot be reached, or refuses.
    """
    from mlflow.artifacts import download_artifacts

    expected = get_version(name, version).tags.get(f"{TAG}files_hash")
    if not expected:
        raise _build_damage_error(
            name, version, f"it has no tag {TAG}files_hash to check its files by"
        )
    folder = mkdtemp(dir=_make_download_dir())
    with translate_mlflow_errors():
        copy = Path(download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=folder))
    if damage := find_package_damage(copy, expected):
        raise _build_damage_error(
            name, version, f"its files were changed since it was registered: {damage}"
        )
    return copy


@cache
def _make_download_dir() -> str:
    """Make the folder of this process's copies, which only this user may read."""
    folder = mkdtemp(prefix="versions-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _build_damage_error(name: str, version: str, reason: str) -> DamagedVersionError:
    """Build the error for a version whose files are not those that were registered."""
    return DamagedVersionError.of(
        f"{name} version {version} cannot serve: {reason}",
        found="It was not loaded, and no alias was moved.",
        hint="restore its files from a copy of MLflow's storage, or choose another version: "
        f"ostinato history {name}",
    )


def find_version_of_model(name: str, model_key: str) -> "ModelVersion | None":
    """Return the newest version with this trained model; None where there is none."""
    versions = list_versions(name)
    matching = [v for v in versions if v.tags.get(f"{TAG}model_key") == model_key]
    return max(matching, key=lambda v: int(v.version), default=None)


def list_versions(name: str) -> "list[ModelVersion]":
    """List the versions of a model."""
    with translate_mlflow_errors():
        return list(open_client().search_model_versions(f"name = '{name}'", max_results=10_000))


def create_version(
    name: str, *, experiment: str, run_id: str, folder: Path, tags: Mapping[str, str]
) -> "ModelVersion":
    """Register a model package as the next version of a model.

    Args:
        name: registered model, created where it does not exist.
        experiment: MLflow's id of the experiment.
        run_id: of the version's run.
        folder: with the model package.
        tags: of the version.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    with translate_mlflow_errors():
        try:
            open_client().create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        logged = open_client().create_logged_model(experiment, name=name, source_run_id=run_id)
        open_client().log_model_artifacts(logged.model_id, str(folder))
        open_client().finalize_logged_model(logged.model_id, "READY")
        open_client().log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return open_client().create_model_version(
            name,
            source=f"models:/{logged.model_id}",
            run_id=run_id,
            tags=dict(tags),
            model_id=logged.model_id,
        )


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    with translate_mlflow_errors():
        for key, value in tags.items():
            open_client().set_model_version_tag(name, version, key, value)


def describe_version(name: str, version: str, text: str) -> None:
    """Set the description on a version's page in MLflow, in Markdown."""
    with translate_mlflow_errors():
        open_client().update_model_version(name, version, text)


def point_alias(name: str, alias: str, version: str | None) -> None:
    """Point an alias at a version, or remove it, and read it back.

    Raises:
        RegistryError: another program moved it at the same time.
    """
    with translate_mlflow_errors():
        if version is None:
            open_client().delete_registered_model_alias(name, alias)
        else:
            open_client().set_registered_model_alias(name, alias, version)
    if get_aliases(name).get(alias) != version:
        raise RegistryError.of(
            f"alias '{alias}' of '{name}' was moved by another program just now",
            hint="look at the registered model in MLflow, then run again",
        )


def get_version(name: str, number: str) -> "ModelVersion":
    """Return one version.

    Raises:
        RegistryError: there is no version of this number.
    """
    with translate_mlflow_errors():
        return open_client().get_model_version(name, number)


def list_models() -> list[str]:
    """List the names of the registered models."""
    with translate_mlflow_errors():
        return [model.name for model in open_client().search_registered_models(max_results=1000)]


def get_aliases(name: str) -> dict[str, str]:
    """Return the number of the version by alias; empty for a model that is not registered.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    with translate_mlflow_errors():
        try:
            aliases = open_client().get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == _ABSENT:
                return {}
            raise
    return {alias: str(number) for alias, number in aliases.items()}


def measure_version_bytes(version: "ModelVersion") -> int:
    """Count the bytes of a version's files; 0 where they are missing."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with translate_mlflow_errors():
        try:
            return _measure_folder_bytes(get_artifact_repository(_find_location(version)), None)
        except (MlflowException, FileNotFoundError) as error:
            if is_down(error):
                raise
            return 0


def _measure_folder_bytes(files: "ArtifactRepository", folder: str | None) -> int:
    """Count the bytes in a folder of artifacts."""
    return sum(
        _measure_folder_bytes(files, each.path) if each.is_dir else int(each.file_size or 0)
        for each in files.list_artifacts(folder)
    )


def _find_location(version: "ModelVersion") -> str:
    """Return the URI of a version's files."""
    model_id = str(version.source or "").removeprefix("models:/")
    if model_id == version.source:
        return str(version.source)
    return str(open_client().get_logged_model(model_id).artifact_location)


def delete_version(name: str, number: str) -> None:
    """Delete a version and its files; its run, with scores and report, is kept.

    The version is deleted first, so that nobody finds one whose files are incomplete.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    version = get_version(name, number)
    with translate_mlflow_errors():
        location = _find_location(version)
        model_id = str(version.source or "").removeprefix("models:/")
        open_client().delete_model_version(name, number)
        if model_id != version.source:
            get_artifact_repository(location).delete_artifacts()
            open_client().delete_logged_model(model_id)
