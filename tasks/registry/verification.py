"""Verification of a version: its files, and its predictions of the golden rows."""

import polars as pl

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.serving.model_package import check_golden_predictions, hash_package
from tasks.tracking.mlflow_client import TAG


def verify_version(name: str, version: str) -> None:
    """Check that a version's files are unchanged, that it loads, and its golden predictions.

    Raises:
        RegistryError: its files were changed, it cannot be loaded, or it predicts otherwise.
    """
    import yaml
    from mlflow.exceptions import MlflowException

    expected = versions.get_version(name, version).tags.get(f"{TAG}files_hash")
    folder = versions.fetch_files(name, version)
    if expected and hash_package(folder) != expected:
        raise _build_error(name, version, "its files were changed since it was registered")
    try:
        check_golden_predictions(folder, f"{name} version {version}")
    except (
        MlflowException,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        AttributeError,
        ImportError,
        SyntaxError,
        yaml.YAMLError,
        pl.exceptions.PolarsError,
    ) as error:
        raise _build_error(name, version, f"it cannot be loaded: {error}") from error


def _build_error(name: str, version: str, reason: str) -> RegistryError:
    """Build the error for a damaged version."""
    return RegistryError.of(
        f"{name} version {version} cannot serve: {reason}",
        found="No alias was moved.",
        hint="restore its files from a copy of MLflow's storage, or choose another version: "
        f"ostinato history {name}",
    )
