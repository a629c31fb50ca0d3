"""Columns of paths become the bytes of their files."""

import os
from pathlib import Path

import polars as pl
import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.files import linked_files
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot


def test_columns_of_paths_become_the_bytes_of_their_files(
    tmp_path: Path, local_store: Store, caplog
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"one")
    paths = ["images/1.png", None, "images/2.png"]
    pl.DataFrame({"id": [1, 2, 3], "image": paths}).write_csv(tmp_path / "list.csv")
    source = SourceConfig(uri=str(tmp_path / "list.csv"), file_columns=("image",))

    first = take_snapshot(source, local_store)
    (tmp_path / "images" / "1.png").write_bytes(b"other")
    second = take_snapshot(source, local_store)

    assert read_snapshot(first, local_store)["image"].to_list() == [b"one", None, None]
    assert read_snapshot(second, local_store)["image"].to_list() == [b"other", None, None]
    assert "1 file(s) that rows refer to are not there" in caplog.text


def test_a_column_without_paths_is_refused(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"id": [1]}).write_csv(tmp_path / "list.csv")
    source = SourceConfig(uri=str(tmp_path / "list.csv"), file_columns=("id",))

    with pytest.raises(SourceError, match="column 'id' holds Int64, not paths"):
        take_snapshot(source, local_store)


def test_paths_are_relative_to_the_file_of_their_row(tmp_path: Path, local_store: Store) -> None:
    for index in range(300):
        folder = tmp_path / f"f{index:03}"
        folder.mkdir()
        (folder / "a.bin").write_bytes(b"%d" % index)
        (folder / "l.csv").write_text("p\na.bin\n")
    source = SourceConfig(uri=str(tmp_path / "*" / "l.csv"), file_columns=("p",))

    rows = read_snapshot(take_snapshot(source, local_store), local_store)

    assert rows["p"].to_list() == [b"%d" % index for index in range(300)]


def test_the_content_of_linked_files_counts_and_not_their_times(
    tmp_path: Path, local_store: Store
) -> None:
    linked = tmp_path / "1.png"
    linked.write_bytes(b"one")
    (tmp_path / "list.csv").write_text("image\n1.png\n")
    source = SourceConfig(uri=str(tmp_path / "list.csv"), file_columns=("image",))

    first = take_snapshot(source, local_store)
    status = linked.stat()
    os.utime(linked, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    touched = take_snapshot(source, local_store)
    linked.write_bytes(b"two")
    os.utime(linked, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = take_snapshot(source, local_store)

    assert touched.key == first.key
    assert read_snapshot(changed, local_store)["image"].to_list() == [b"two"]


def test_a_linked_file_beyond_the_bound_is_cut_and_a_pipe_is_not_waited_for(
    tmp_path: Path, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linked_files, "MAX_FILE_BYTES", 4)
    (tmp_path / "large").write_bytes(b"123456789")
    os.mkfifo(tmp_path / "pipe")
    pl.DataFrame({"file": ["large", "pipe", "/dev/zero"]}).write_csv(tmp_path / "list.csv")
    source = SourceConfig(uri=str(tmp_path / "list.csv"), file_columns=("file",))

    rows = read_snapshot(take_snapshot(source, local_store), local_store)

    assert rows["file"].to_list() == [b"12345", None, None]
