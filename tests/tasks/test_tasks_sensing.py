"""The sensor: it sees what a run would read anew, and nothing else."""

import os
import sqlite3
import time
from pathlib import Path

import pytest
from samples import waves

from tasks.ingest import take_snapshot
from tasks.sensing import look, note_read
from tasks.sources import SourceConfig
from tasks.store import Store, StoreConfig, open_store

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def store(home: Path) -> Store:
    assert home == Path.cwd()
    return open_store(StoreConfig())


def finish_run(source: SourceConfig, store: Store) -> None:
    take_snapshot(source, store)
    note_read("waves", source, StoreConfig())


@pytest.fixture
def folder(home: Path) -> SourceConfig:
    (home / "data").mkdir()
    waves(20).write_parquet("data/a.parquet")
    return SourceConfig(uri="data")


def test_a_source_that_no_run_has_read_is_news(folder: SourceConfig, store: Store) -> None:
    assert look("waves", folder, store).news == "no run has come to its end on this source yet"


def test_what_the_last_run_has_read_is_no_news(folder: SourceConfig, store: Store) -> None:
    finish_run(folder, store)

    assert look("waves", folder, store).news is None
    assert look("waves", folder, store).key == look("waves", folder, store).key


def test_new_changed_and_missing_files_are_told_apart(folder: SourceConfig, store: Store) -> None:
    waves(20, seed=1).write_parquet("data/b.parquet")
    finish_run(folder, store)
    before = look("waves", folder, store)
    waves(20, seed=2).write_parquet("data/b.parquet")
    waves(20, seed=3).write_parquet("data/c.parquet")
    Path("data/a.parquet").unlink()

    after = look("waves", folder, store)

    assert after.news == "files new: 1, gone: 1, written again: 1"
    assert after.key != before.key


def test_a_file_that_was_only_touched_is_no_news(folder: SourceConfig, store: Store) -> None:
    finish_run(folder, store)
    os.utime("data/a.parquet", (time.time() + 60, time.time() + 60))

    assert look("waves", folder, store).news is None


def test_new_rows_of_a_table_are_news_until_a_run_has_read_them(store: Store) -> None:
    with sqlite3.connect("shop.db") as database:
        database.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        database.executemany("INSERT INTO sales VALUES (?, ?)", [(i, i / 2) for i in range(9)])
    source = SourceConfig(uri="sqlite:///shop.db", query="sales", watermark="id")
    first = look("waves", source, store)
    finish_run(source, store)
    second = look("waves", source, store)
    with sqlite3.connect("shop.db") as database:
        database.execute("INSERT INTO sales VALUES (9, 4.5)")

    third = look("waves", source, store)
    finish_run(source, store)

    assert (first.news, second.news) == ("no run has come to its end on this source yet", None)
    assert "rows 9 -> 10" in (third.news or "")
    assert look("waves", source, store).news is None
    assert len({first.key, third.key}) == 2


def test_what_was_read_by_no_finished_run_is_still_news(folder: SourceConfig, store: Store) -> None:
    take_snapshot(folder, store)

    assert look("waves", folder, store).news is not None
