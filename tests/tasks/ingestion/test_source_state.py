"""The state of a source saves reading, and may be lost."""

import sqlite3
from pathlib import Path

import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import days, read_snapshot


@pytest.mark.parametrize("damage", ["gone", "{", "{}", "[]", '{"files": 1}'])
def test_the_state_of_a_source_may_be_lost(damage: str, tmp_path: Path, local_store: Store) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    days(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)
    [path] = Path(local_store.root).glob("source_states/*")
    path.write_text(damage, encoding="utf-8") if damage != "gone" else path.unlink()

    assert take_snapshot(source, local_store).key == first.key


def test_a_refused_change_is_not_recorded_as_the_new_state(
    tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    days(1, 6).write_parquet(tmp_path / "a.parquet")
    take_snapshot(source, local_store)
    days(1, 2).write_parquet(tmp_path / "a.parquet")

    for _ in range(2):
        with pytest.raises(SourceError, match="shrank from 6 to 2 rows"):
            take_snapshot(source, local_store)


def test_the_same_name_in_another_folder_is_another_database(
    tmp_path: Path, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number, name in enumerate(("p", "q")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with sqlite3.connect("shop.db") as connection:
            connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
            connection.execute("INSERT INTO sales VALUES (1, ?)", (number,))
            connection.commit()
        connection.close()
        source = SourceConfig(uri="sqlite:///shop.db", query="sales", watermark="id")
        found.append(read_snapshot(take_snapshot(source, local_store), local_store)["amount"][0])

    assert found == [0, 1]
