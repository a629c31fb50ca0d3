"""What every test has: a folder of its own, embedded servers, and nothing that phones home."""

import os
from pathlib import Path

import hypothesis
import pytest

from flows.home import QUIET

os.environ.update(QUIET)

# Compilation and caches make first examples slow; time is measured elsewhere.
hypothesis.settings.register_profile("ostinato", deadline=None)
hypothesis.settings.load_profile("ostinato")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that MLflow and the store use too."""
    monkeypatch.chdir(tmp_path)
    database = tmp_path / ".ostinato" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return tmp_path
