"""Addresses in the MLflow UI, where MLflow is a server."""

import os
from urllib.parse import quote

from tasks.redaction import redact


def find_mlflow_url() -> str | None:
    """Return the address of the MLflow UI, without a password; None where MLflow works embedded."""
    base = redact(os.environ.get("MLFLOW_TRACKING_URI", ""))
    return base if base.startswith("http") else None


def format_version_url(base_url: str, name: str, version: str) -> str:
    """Return the address of a version's page."""
    return f"{base_url}/#/models/{quote(name)}/versions/{version}"
