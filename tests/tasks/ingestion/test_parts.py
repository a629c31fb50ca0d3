"""Snapshots share the parts of files that have not changed."""

import shutil
from pathlib import Path

import polars as pl
import pytest

import tasks.ingestion.incremental
import tasks.ingestion.parts
from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import make_daily_rows, make_noon, read_snapshot


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the source files that are opened."""
    opened: list[str] = []
    original = tasks.ingestion.parts.scan_file

    def scan_and_record(path, file):
        opened.append(Path(file.path).name)
        return original(path, file)

    monkeypatch.setattr(tasks.ingestion.parts, "scan_file", scan_and_record)
    return opened


def test_only_new_files_are_read_and_the_parts_of_the_others_are_shared(
    tmp_path: Path, local_store: Store, files_read: list[str]
) -> None:
    source = SourceConfig(uri=str(tmp_path / "*.parquet"), time="at")
    make_daily_rows(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)
    make_daily_rows(4, 6).write_parquet(tmp_path / "b.parquet")

    second = take_snapshot(source, local_store)

    assert files_read == ["a.parquet", "b.parquet"]
    assert second.facts.parts[:1] == first.facts.parts
    assert read_snapshot(second, local_store).equals(make_daily_rows(1, 6))
    assert read_snapshot(first, local_store).equals(make_daily_rows(1, 3))


def test_an_unchanged_source_gives_the_same_snapshot(
    tmp_path: Path, local_store: Store, files_read: list[str]
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    make_daily_rows(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)

    second = take_snapshot(source, local_store)

    assert (second.key, second.recomputed) == (first.key, False)
    assert files_read == ["a.parquet"]


def test_the_table_has_the_columns_of_all_files(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"b": ["y"], "a": [2.5], "c": [True]}).write_parquet(tmp_path / "2.parquet")

    rows = read_snapshot(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows.to_dicts() == [
        {"a": 1.0, "b": "x", "c": None},
        {"a": 2.5, "b": "y", "c": True},
    ]


def test_a_file_that_is_written_while_it_is_read_is_read_again(
    tmp_path: Path, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    original = tasks.ingestion.parts.scan_file

    def rewrite_and_scan(path_read, file):
        path.write_text("a\n99\n")
        return original(path_read, file)

    monkeypatch.setattr(tasks.ingestion.parts, "scan_file", rewrite_and_scan)
    with pytest.raises(SourceDownError, match="was written while it was read"):
        take_snapshot(SourceConfig(uri=str(path)), local_store)
    monkeypatch.undo()
    path.write_text("a\n1\n")

    assert read_snapshot(take_snapshot(SourceConfig(uri=str(path)), local_store), local_store)[
        "a"
    ].to_list() == [1]


def test_reserved_names_are_refused(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"__row__": [1]}).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(SourceError, match="reserved names: __row__"):
        take_snapshot(SourceConfig(uri=str(tmp_path)), local_store)


def test_structs_with_different_fields_get_all_fields(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"s": [{"a": 1}]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"s": [{"b": 1}]}).write_parquet(tmp_path / "b.parquet")

    rows = read_snapshot(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows["s"].to_list() == [{"a": 1, "b": None}, {"a": None, "b": 1}]


def test_parts_that_were_deleted_are_read_again(tmp_path: Path, local_store: Store) -> None:
    make_daily_rows(1, 10).write_delta(tmp_path / "lake")
    source = SourceConfig(uri=str(tmp_path / "lake"), time="at")
    take_snapshot(source, local_store, as_of=make_noon(5))
    snapshot = take_snapshot(source, local_store)
    shutil.rmtree(Path(local_store.root) / "part" / snapshot.facts.parts[1])

    assert take_snapshot(source, local_store).facts.rows == 10
