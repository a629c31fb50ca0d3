"""Versions in a real registry, of one small model that was trained once."""

from pathlib import Path

from mlflow import MlflowClient

from models.features.config import TargetConfig
from tasks.registry import versions
from tasks.serving.model_package import choose_golden_rows, hash_package, save_package
from tasks.tracking import mlflow_client
from tests.support.trained_models import ALONE, TOLD, features, tagged, trained


def served_model(folder: Path) -> Path:
    """Train for two epochs, and save what MLflow serves."""
    target = TargetConfig(column="tags", kind="tags")
    rows = features(folder / "f", tagged(), ALONE, target, TOLD)
    bundle = trained(folder / "f")
    golden = choose_golden_rows(bundle, rows, folder / "f")
    save_package(folder / "f" / "model" / "bundle", folder / "served", golden)
    return folder / "served"


def register(
    served: Path, count: int = 1, *, decision: str = "promote", name: str = "waves", **more: str
) -> dict[str, str]:
    """Register the model as so many further versions, as a gate that decided so leaves them."""
    experiment = mlflow_client.open_experiment(name, Path(".ostinato/mlflow/artifacts"))
    for _ in range(count):
        run = MlflowClient().create_run(experiment)
        tags = {
            "ostinato.decision": decision,
            "ostinato.reason": "so it was told",
            "ostinato.files_hash": hash_package(served),
            "ostinato.report_hash": "of a report",
            **{f"ostinato.{key}": value for key, value in more.items()},
        }
        versions.create_version(
            name, experiment=experiment, run_id=run.info.run_id, folder=served, tags=tags
        )
    return now(name)


def now(name: str = "waves") -> dict[str, str]:
    """MLflow's aliases."""
    return {k: str(v) for k, v in MlflowClient().get_registered_model(name).aliases.items()}


def files_of(version: str, name: str = "waves") -> Path:
    """Folder of a version's files."""
    return versions.fetch_files(name, version)
