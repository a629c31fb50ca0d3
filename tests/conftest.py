"""What every test has: a folder of its own, embedded servers, and nothing that phones home."""

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
from tests.support.postgres import Postgres, running_postgres
from tests.support.sample_jobs import SALES, WAVES, Pages, open_pages, sales, waves, write_job

os.environ.update(NO_TELEMETRY)

# Compilation and caches make first examples slow; time is measured elsewhere.
# Where CI decides on a change, the same examples for everybody; new ones are looked for elsewhere.
hypothesis.settings.register_profile("ostinato", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("ostinato")


@pytest.fixture(scope="session")
def blank_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's empty database: its tables take seconds to make, a copy of them none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def home(tmp_path: Path, blank_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that MLflow and the store use too."""
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL for the whole session."""
    with running_postgres() as server:
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
    """A bucket of its own, and an environment in which s3:// means moto."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name
