"""Stores of every kind: a folder, memory, and S3 as simulated by moto."""

from pathlib import Path

import fsspec
import pytest

from tasks.storage.store import Store, StoreConfig, open_store


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
