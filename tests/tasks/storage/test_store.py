"""A store is a folder: where its address names a file, that is said at once."""

from pathlib import Path

import pytest

from tasks.errors import StoreError
from tasks.storage.store import StoreConfig, open_store


@pytest.mark.parametrize("name", ["file", "file/store", "file/a/b"])
def test_a_store_that_is_a_file_or_below_one_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match=rf"store\.uri: '{tmp_path}/file' is a file"):
        open_store(StoreConfig(uri=str(tmp_path / name)))


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match=r"store\.cache: .* is a file"):
        open_store(StoreConfig(uri="memory://bucket", cache=str(tmp_path / "file")))


def test_a_folder_that_does_not_exist_yet_is_a_store(tmp_path: Path) -> None:
    assert open_store(StoreConfig(uri=str(tmp_path / "a" / "b"))).root == f"{tmp_path}/a/b"
