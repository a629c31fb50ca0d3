"""The state of a source is an optimization: a snapshot does not need it."""

import sqlite3
from pathlib import Path

import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import make_daily_rows, read_snapshot


@pytest.mark.parametrize("damage", ["missing", "{", "{}", "[]", '{"files": 1}'])
def test_a_lost_or_damaged_state_does_not_change_the_snapshot(
    damage: str, tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    make_daily_rows(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)
    [path] = Path(local_store.root).glob("source_states/*")
    path.write_text(damage, encoding="utf-8") if damage != "missing" else path.unlink()

    assert take_snapshot(source, local_store).key == first.key


def test_a_refused_change_is_not_recorded(tmp_path: Path, local_store: Store) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    make_daily_rows(1, 6).write_parquet(tmp_path / "a.parquet")
    take_snapshot(source, local_store)
    make_daily_rows(1, 2).write_parquet(tmp_path / "a.parquet")

    for _ in range(2):
        with pytest.raises(SourceError, match="shrank from 6 to 2 rows"):
            take_snapshot(source, local_store)


def test_a_database_of_the_same_name_in_another_folder_is_read_anew(
    tmp_path: Path, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    amounts = []
    for number, name in enumerate(("p", "q")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with sqlite3.connect("shop.db") as connection:
            connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
            connection.execute("INSERT INTO sales VALUES (1, ?)", (number,))
            connection.commit()
        connection.close()
        source = SourceConfig(uri="sqlite:///shop.db", query="sales", watermark="id")
        amounts.append(read_snapshot(take_snapshot(source, local_store), local_store)["amount"][0])

    assert amounts == [0, 1]
