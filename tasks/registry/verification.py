"""Proof that a version is what was registered: its files, and its answers to its golden rows."""

import polars as pl

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.serving.model_package import check_golden, hash_package
from tasks.tracking.mlflow_client import TAG


def verify_version(name: str, version: str) -> None:
    """Compare a version's files with those that were registered, load it, ask its golden rows.

    Raises:
        RegistryError: it cannot be loaded, is not what was registered, or answers otherwise.
    """
    import yaml
    from mlflow.exceptions import MlflowException

    wanted = versions.get_version(name, version).tags.get(f"{TAG}files_hash")
    folder = versions.fetch_files(name, version)
    if wanted and hash_package(folder) != wanted:
        raise _build_error(name, version, "its files are not those that were registered")
    try:
        check_golden(folder, f"{name} version {version}")
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


def _build_error(name: str, version: str, why: str) -> RegistryError:
    """Build the refusal of a version that is damaged."""
    return RegistryError.of(
        f"{name} version {version} may not serve: {why}",
        found="No alias was moved.",
        hint="restore its files from a copy of MLflow's storage, or choose another version: "
        f"ostinato history {name}",
    )
