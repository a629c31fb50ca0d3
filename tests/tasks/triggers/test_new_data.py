"""The new-data trigger reports exactly what a run would read for the first time."""

import os
import sqlite3
import time
from pathlib import Path

import fsspec
import pytest

from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.triggers.new_data import compare_source, record_source_read
from tests.support.sample_jobs import make_waves

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def store(home: Path) -> Store:
    assert home == Path.cwd()
    return open_store(StoreConfig())


def finish_run(source: SourceConfig, store: Store) -> None:
    take_snapshot(source, store)
    record_source_read("waves", source, StoreConfig())


@pytest.fixture
def folder(home: Path) -> SourceConfig:
    (home / "data").mkdir()
    make_waves(20).write_parquet("data/a.parquet")
    return SourceConfig(uri="data")


def test_a_source_that_no_run_has_read_is_new(folder: SourceConfig, store: Store) -> None:
    assert compare_source("waves", folder, store).change == "no run has finished on this source yet"


def test_a_source_that_the_last_run_has_read_is_unchanged(
    folder: SourceConfig, store: Store
) -> None:
    finish_run(folder, store)

    assert compare_source("waves", folder, store).change is None
    assert compare_source("waves", folder, store).key == compare_source("waves", folder, store).key


def test_new_rewritten_and_removed_files_are_counted(folder: SourceConfig, store: Store) -> None:
    make_waves(20, seed=1).write_parquet("data/b.parquet")
    finish_run(folder, store)
    before = compare_source("waves", folder, store)
    make_waves(20, seed=2).write_parquet("data/b.parquet")
    make_waves(20, seed=3).write_parquet("data/c.parquet")
    Path("data/a.parquet").unlink()

    after = compare_source("waves", folder, store)

    assert after.change == "files new: 1, removed: 1, rewritten: 1"
    assert after.key != before.key


def test_a_file_with_only_a_new_modification_time_is_unchanged(
    folder: SourceConfig, store: Store
) -> None:
    finish_run(folder, store)
    os.utime("data/a.parquet", (time.time() + 60, time.time() + 60))

    assert compare_source("waves", folder, store).change is None


TEXTS = (b"id,label\n1,up\n2,no\n", b"id,label\n1,no\n2,up\n")
"""Different rows of the same size in bytes."""


@pytest.mark.parametrize("is_old", [False, True])
def test_other_bytes_of_the_same_size_and_time_are_a_change(
    home: Path, store: Store, *, is_old: bool
) -> None:
    before, after = TEXTS
    path = home / "rows.csv"
    path.write_bytes(before)
    if is_old:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    source = SourceConfig(uri=str(path))
    finish_run(source, store)
    unchanged, status = compare_source("waves", source, store), path.stat()
    path.write_bytes(after)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    changed = compare_source("waves", source, store)

    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert unchanged.change is None
    assert changed.change == "files rewritten: 1"
    assert changed.key != unchanged.key


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_other_bytes_of_the_same_size_are_a_change_on_any_filesystem(
    request: pytest.FixtureRequest, store: Store, kind: str
) -> None:
    before, after = TEXTS
    bucket = request.getfixturevalue("s3_bucket") if kind == "s3" else "new-data"
    uri = f"{kind}://{bucket}/rows.csv"
    with fsspec.open(uri, "wb") as file:
        file.write(before)
    source = SourceConfig(uri=uri)
    finish_run(source, store)
    unchanged = compare_source("waves", source, store)
    with fsspec.open(uri, "wb") as file:
        file.write(after)

    changed = compare_source("waves", source, store)

    assert unchanged.change is None
    assert changed.change == "files rewritten: 1"


def test_new_rows_of_a_table_are_a_change_until_a_run_has_read_them(store: Store) -> None:
    with sqlite3.connect("shop.db") as database:
        database.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        database.executemany("INSERT INTO sales VALUES (?, ?)", [(i, i / 2) for i in range(9)])
    source = SourceConfig(uri="sqlite:///shop.db", query="sales", watermark="id")
    first = compare_source("waves", source, store)
    finish_run(source, store)
    second = compare_source("waves", source, store)
    with sqlite3.connect("shop.db") as database:
        database.execute("INSERT INTO sales VALUES (9, 4.5)")

    third = compare_source("waves", source, store)
    finish_run(source, store)

    assert (first.change, second.change) == ("no run has finished on this source yet", None)
    assert "rows 9 -> 10" in (third.change or "")
    assert compare_source("waves", source, store).change is None
    assert len({first.key, third.key}) == 2


def test_a_source_read_without_a_finished_run_is_still_new(
    folder: SourceConfig, store: Store
) -> None:
    take_snapshot(folder, store)

    assert compare_source("waves", folder, store).change is not None


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"null", b"\xff"])
def test_a_damaged_record_of_the_last_run_counts_as_none(
    damage: bytes, folder: SourceConfig, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    finish_run(folder, store)
    (Path(store.root) / "seen" / "waves.json").write_bytes(damage)

    assert compare_source("waves", folder, store).change == "no run has finished on this source yet"
    assert "waves.json is damaged" in caplog.text
