"""Fixtures of all tests: a working folder, local servers, sample jobs; no telemetry."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import hypothesis
import pytest
from moto.server import ThreadedMotoServer

from flows.environment import NO_TELEMETRY
from tests.support.postgres import Postgres, run_postgres
from tests.support.sample_jobs import (
    SALES,
    WAVES,
    Pages,
    make_sales,
    make_waves,
    start_pages,
    write_job,
)

os.environ.update(NO_TELEMETRY)

# Compilation and caches make first examples slow; time is measured elsewhere.
# CI runs the same examples for every change; new ones are searched for elsewhere.
hypothesis.settings.register_profile("ostinato", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("ostinato")


@pytest.fixture(scope="session")
def blank_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create MLflow's empty database once: creating its tables takes seconds, a copy none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def home(tmp_path: Path, blank_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter an empty working folder, in which MLflow and the store are too."""
    monkeypatch.chdir(tmp_path)
    database = tmp_path / ".ostinato" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    shutil.copyfile(blank_registry, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return tmp_path


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """Start one real server for the whole session: each start takes seconds."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def waves_job(home: Path) -> Path:
    """Write a job file over 300 waves."""
    make_waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES)


@pytest.fixture
def sales_job(home: Path) -> Path:
    """Write a job file over 400 days of sales."""
    make_sales(400).write_parquet(home / "sales.parquet")
    return write_job(home, SALES)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Start one `ostinato ui` with a scheduled job for all tests that need its servers."""
    folder = tmp_path_factory.mktemp("pages")
    make_waves(300).write_parquet(folder / "waves.parquet")
    job = write_job(folder, WAVES | {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}})
    running = start_pages(folder, job.name, "--prefect-port", "0", "--mlflow-port", "0")
    yield running
    running.process.send_signal(signal.SIGINT)
    running.process.communicate(timeout=60)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a real PostgreSQL for the whole session."""
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, request) -> str:
    """Create a bucket for this test, and let s3:// refer to moto."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name
