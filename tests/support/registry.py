"""Versions of one small model in a real registry."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

from models.features.config import TargetConfig
from tasks.registry import versions
from tasks.serving.model_package import choose_golden_rows, save_package
from tasks.serving.package_files import LISTING, seal_package
from tasks.storage.integrity import hash_file
from tasks.tracking import mlflow_client
from tests.support.trained_models import (
    BY_COLUMN,
    TEXT_LAYOUT,
    make_tagged_texts,
    train_bundle,
    write_features,
)


def train_model_package(folder: Path) -> Path:
    """Train a model for two epochs and return the folder of its MLflow package."""
    target = TargetConfig(column="tags", kind="tags")
    rows = write_features(folder / "f", make_tagged_texts(), TEXT_LAYOUT, target, BY_COLUMN)
    bundle = train_bundle(folder / "f")
    golden = choose_golden_rows(bundle, rows, folder / "f")
    save_package(folder / "f" / "model" / "bundle", folder / "package", golden)
    return folder / "package"


def register_versions(
    package_dir: Path,
    count: int = 1,
    *,
    decision: str = "promote",
    name: str = "waves",
    **more: str,
) -> dict[str, str]:
    """Register the package `count` times with this decision of the gate; return the aliases."""
    experiment = mlflow_client.open_experiment(name, Path(".ostinato/mlflow/artifacts"))
    for _ in range(count):
        run = MlflowClient().create_run(experiment)
        tags = {
            "ostinato.decision": decision,
            "ostinato.reason": "test decision",
            "ostinato.files_hash": hash_file(package_dir / LISTING),
            "ostinato.report_hash": "hash of a report",
            **{f"ostinato.{key}": value for key, value in more.items()},
        }
        versions.create_version(
            name, experiment=experiment, run_id=run.info.run_id, folder=package_dir, tags=tags
        )
    return read_aliases(name)


def read_aliases(name: str = "waves") -> dict[str, str]:
    """Return the version of each of MLflow's aliases."""
    return {k: str(v) for k, v in MlflowClient().get_registered_model(name).aliases.items()}


def find_version_files(version: str, name: str = "waves") -> Path:
    """Return the folder in which MLflow keeps a version's files."""
    model_id = MlflowClient().get_model_version(name, version).source.removeprefix("models:/")
    location = MlflowClient().get_logged_model(model_id).artifact_location
    return Path(local_file_uri_to_path(location))


def seal_version(version: str, name: str = "waves") -> None:
    """Make a version's files as they are now those that were registered."""
    digest = seal_package(find_version_files(version, name))
    MlflowClient().set_model_version_tag(name, version, "ostinato.files_hash", digest)
