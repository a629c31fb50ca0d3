"""What every test has: a folder of its own, embedded servers, and nothing that phones home."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from samples import SALES, WAVES, Pages, open_pages, sales, waves, write_job

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


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One real server for the whole session: each start costs seconds."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def waves_job(home: Path) -> Path:
    """A job file over 300 waves."""
    waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES)


@pytest.fixture
def sales_job(home: Path) -> Path:
    """A job file over 400 days of sales."""
    sales(400).write_parquet(home / "sales.parquet")
    return write_job(home, SALES)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """One `ostinato ui` for all tests that need its servers, with one scheduled job."""
    folder = tmp_path_factory.mktemp("pages")
    waves(300).write_parquet(folder / "waves.parquet")
    job = write_job(folder, WAVES | {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}})
    opened = open_pages(folder, job.name, "--prefect-port", "0", "--mlflow-port", "0")
    yield opened
    opened.process.send_signal(signal.SIGINT)
    opened.process.communicate(timeout=60)
