"""Only rows of a table above the last watermark are read, and late rows are detected."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks.ingestion.incremental
import tasks.ingestion.parts
from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        connection.commit()
        yield connection
    connection.close()


def add_sales(connection: sqlite3.Connection, *ids: int) -> None:
    connection.executemany("INSERT INTO sales VALUES (?, ?)", [(i, i / 2) for i in ids])
    connection.commit()


def shop_source(tmp_path: Path, **more: object) -> SourceConfig:
    options = {"query": "sales", "watermark": "id"} | more
    return SourceConfig(uri=f"sqlite:///{tmp_path / 'shop.db'}", **options)


@pytest.fixture
def ranges_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, object]]:
    """Record the ranges of watermarks that are read from a table."""
    ranges: list[tuple[object, object]] = []
    original = tasks.ingestion.incremental.read_batches

    def read_and_record(table, span, *, order_by):
        ranges.append((span.after, span.until) if span else (None, None))
        return original(table, span, order_by=order_by)

    monkeypatch.setattr(tasks.ingestion.incremental, "read_batches", read_and_record)
    return ranges


def test_only_rows_above_the_last_watermark_are_read(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store, ranges_read: list
) -> None:
    add_sales(database, 1, 2, 3)
    first = take_snapshot(shop_source(tmp_path), local_store)
    add_sales(database, 5, 4)

    second = take_snapshot(shop_source(tmp_path), local_store)
    third = take_snapshot(shop_source(tmp_path), local_store)

    assert ranges_read == [(None, 3), (3, 5)]
    assert second.facts.parts[:1] == first.facts.parts
    assert read_snapshot(second, local_store)["id"].to_list() == [1, 2, 3, 4, 5]
    assert (third.key, third.recomputed) == (second.key, False)


def test_late_rows_are_detected_and_read(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store, ranges_read: list, caplog
) -> None:
    add_sales(database, 1, 2)
    take_snapshot(shop_source(tmp_path), local_store)
    add_sales(database, 5, 6)
    take_snapshot(shop_source(tmp_path), local_store)
    add_sales(database, 4)

    with caplog.at_level(logging.WARNING):
        snapshot = take_snapshot(shop_source(tmp_path), local_store)

    assert read_snapshot(snapshot, local_store)["id"].to_list() == [1, 2, 4, 5, 6]
    assert ranges_read[2:] == [(2, 6)]
    assert "sales has 5 rows up to id = 6, 4 were read before" in caplog.text


def test_a_table_without_a_watermark_is_read_whole_and_stored_once(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    add_sales(database, 2, 1)
    source = shop_source(tmp_path, watermark=None)
    first = take_snapshot(source, local_store)

    second = take_snapshot(source, local_store)

    assert (second.key, second.recomputed) == (first.key, False)
    add_sales(database, 3)
    assert read_snapshot(take_snapshot(source, local_store), local_store)["id"].to_list() == [
        2,
        1,
        3,
    ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1, max_size=5))
def test_incremental_reads_give_the_same_rows_as_one_read(
    arrivals: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("arrivals")
    stores = [
        Store(open_local_filesystem(), str(folder / name), folder / "cache") for name in ("a", "b")
    ]
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        add_sales(connection, 0)
        for ids in arrivals:
            add_sales(connection, *ids)
            incremental = take_snapshot(shop_source(folder), stores[0])
        whole = take_snapshot(shop_source(folder), stores[1])
    connection.close()

    assert read_snapshot(incremental, stores[0]).equals(read_snapshot(whole, stores[1]))


def open_local_filesystem():
    import fsspec

    return fsspec.filesystem("file")


def test_an_unknown_watermark_names_the_columns(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    add_sales(database, 1)

    with pytest.raises(SourceError, match=r"(?s)no column 'when'.*id, amount"):
        take_snapshot(shop_source(tmp_path, watermark="when"), local_store)


def test_a_table_that_was_emptied_has_no_rows(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    add_sales(database, 1, 2)
    take_snapshot(shop_source(tmp_path), local_store)
    database.execute("DELETE FROM sales")
    database.commit()

    with pytest.raises(SourceError, match="the table has no rows"):
        take_snapshot(shop_source(tmp_path), local_store)


def test_rows_without_a_watermark_are_reported(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store, caplog
) -> None:
    add_sales(database, 1, 2)
    database.execute("INSERT INTO sales VALUES (NULL, 7)")
    database.commit()

    take_snapshot(shop_source(tmp_path), local_store)

    assert "1 row(s) of sales have no 'id' and are left out" in caplog.text


def test_columns_that_were_added_later_are_read_for_all_rows(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    add_sales(database, 1, 2)
    take_snapshot(shop_source(tmp_path), local_store)
    database.execute("ALTER TABLE sales ADD COLUMN b INTEGER")
    database.execute("UPDATE sales SET b = id")
    database.commit()

    rows = read_snapshot(take_snapshot(shop_source(tmp_path), local_store), local_store)

    assert rows["b"].to_list() == [1, 2]
