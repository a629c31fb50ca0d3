"""Stores of every kind: a folder, memory, and S3 as moto plays it."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from tasks.store import Store, StoreConfig, open_store


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


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request, tmp_path: Path) -> Store:
    if request.param == "folder":
        return request.getfixturevalue("local_store")
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        uri = f"memory://{tmp_path.name}/store"
    else:
        uri = f"s3://{request.getfixturevalue('s3_bucket')}/store"
    return open_store(StoreConfig(uri=uri, cache=str(tmp_path / "cache")))
