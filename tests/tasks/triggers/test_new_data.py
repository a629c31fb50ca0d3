"""The sensor: it sees what a run would read anew, and nothing else."""

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
from tests.support.sample_jobs import waves

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
    waves(20).write_parquet("data/a.parquet")
    return SourceConfig(uri="data")


def test_a_source_that_no_run_has_read_is_news(folder: SourceConfig, store: Store) -> None:
    assert compare_source("waves", folder, store).change == "no run has finished on this source yet"


def test_what_the_last_run_has_read_is_no_news(folder: SourceConfig, store: Store) -> None:
    finish_run(folder, store)

    assert compare_source("waves", folder, store).change is None
    assert compare_source("waves", folder, store).key == compare_source("waves", folder, store).key


def test_new_changed_and_missing_files_are_told_apart(folder: SourceConfig, store: Store) -> None:
    waves(20, seed=1).write_parquet("data/b.parquet")
    finish_run(folder, store)
    before = compare_source("waves", folder, store)
    waves(20, seed=2).write_parquet("data/b.parquet")
    waves(20, seed=3).write_parquet("data/c.parquet")
    Path("data/a.parquet").unlink()

    after = compare_source("waves", folder, store)

    assert after.change == "files new: 1, removed: 1, rewritten: 1"
    assert after.key != before.key


def test_a_file_that_was_only_touched_is_no_news(folder: SourceConfig, store: Store) -> None:
    finish_run(folder, store)
    os.utime("data/a.parquet", (time.time() + 60, time.time() + 60))

    assert compare_source("waves", folder, store).change is None


TEXTS = (b"id,label\n1,up\n2,no\n", b"id,label\n1,no\n2,up\n")
"""Other rows in as many bytes."""


@pytest.mark.parametrize("settled", [False, True])
def test_other_bytes_of_the_same_size_and_time_are_news(
    home: Path, store: Store, *, settled: bool
) -> None:
    before, after = TEXTS
    path = home / "rows.csv"
    path.write_bytes(before)
    if settled:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    source = SourceConfig(uri=str(path))
    finish_run(source, store)
    quiet, old = compare_source("waves", source, store), path.stat()
    path.write_bytes(after)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))

    loud = compare_source("waves", source, store)

    assert (path.stat().st_size, path.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    assert quiet.change is None
    assert loud.change == "files rewritten: 1"
    assert loud.key != quiet.key


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_other_bytes_of_the_same_size_are_news_on_any_filesystem(
    request: pytest.FixtureRequest, store: Store, kind: str
) -> None:
    before, after = TEXTS
    place = request.getfixturevalue("s3_bucket") if kind == "s3" else "sensing"
    uri = f"{kind}://{place}/rows.csv"
    with fsspec.open(uri, "wb") as file:
        file.write(before)
    source = SourceConfig(uri=uri)
    finish_run(source, store)
    quiet = compare_source("waves", source, store)
    with fsspec.open(uri, "wb") as file:
        file.write(after)

    loud = compare_source("waves", source, store)

    assert quiet.change is None
    assert loud.change == "files rewritten: 1"


def test_new_rows_of_a_table_are_news_until_a_run_has_read_them(store: Store) -> None:
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


def test_what_was_read_by_no_finished_run_is_still_news(folder: SourceConfig, store: Store) -> None:
    take_snapshot(folder, store)

    assert compare_source("waves", folder, store).change is not None
