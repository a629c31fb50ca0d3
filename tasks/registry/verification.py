"""Verification of a version: its files, and its predictions of the golden rows."""

import polars as pl

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.serving.model_package import check_golden_predictions


def verify_version(name: str, version: str) -> None:
    """Check that a version's files are unchanged, that it loads, and its golden predictions.

    Raises:
        RegistryError: its files were changed, it cannot be loaded, or it predicts otherwise.
    """
    import yaml
    from mlflow.exceptions import MlflowException

    folder = versions.fetch_files(name, version)
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
        raise RegistryError.of(
            f"{name} version {version} cannot serve: it cannot be loaded: {error}",
            found="No alias was moved.",
            hint="install the version of ostinato that is in its tag ostinato.code_version, or "
            f"choose another version: ostinato history {name}",
        ) from error
