"""Where MLflow shows what a run has made, when it is a server with pages."""

import os
from urllib.parse import quote

from tasks.redaction import discreet


def mlflow_pages() -> str | None:
    """Return the address of MLflow's pages, without a password; None where it works embedded."""
    base = discreet(os.environ.get("MLFLOW_TRACKING_URI", ""))
    return base if base.startswith("http") else None


def version_page(pages: str, name: str, version: str) -> str:
    """Return the address of a version's page."""
    return f"{pages}/#/models/{quote(name)}/versions/{version}"
