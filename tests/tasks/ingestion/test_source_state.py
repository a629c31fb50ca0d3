"""The state of a source is an optimization: a snapshot does not need it."""

import json
import sqlite3
from pathlib import Path

import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import make_daily_rows, read_snapshot


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "{",
        "{}",
        "[]",
        '{"files": 1}',
        '{"files": {"FILE": 3}}',
        '{"files": {"FILE": []}}',
        '{"snapshots": [{"as_of": 5, "key": "k", "rows": 1, "schema": {}}]}',
        '{"snapshots": [{"as_of": null, "key": "k", "rows": "x", "schema": {}}]}',
        '{"snapshots": "x"}',
    ],
)
def test_a_lost_or_damaged_state_does_not_change_the_snapshot(
    damage: str, tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    make_daily_rows(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)
    [path] = Path(local_store.root).glob("source_states/*")
    text = damage.replace("FILE", str(tmp_path / "a.parquet"))
    path.write_text(text, encoding="utf-8") if damage != "missing" else path.unlink()

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


@pytest.mark.parametrize("until", [["unknown", "1"], ["int", "x"], ["Decimal", "x"], ["int"], 7])
def test_a_table_is_read_anew_where_its_watermark_is_damaged(
    until: object, tmp_path: Path, local_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        connection.executemany("INSERT INTO sales VALUES (?, 1.0)", [(1,), (2,)])
        connection.commit()
    connection.close()
    source = SourceConfig(uri=f"sqlite:///{tmp_path}/shop.db", query="sales", watermark="id")
    take_snapshot(source, local_store)
    [path] = Path(local_store.root).glob("source_states/*")
    state = json.loads(path.read_text())
    state["batches"][-1]["until"] = until
    path.write_text(json.dumps(state))

    rows = read_snapshot(take_snapshot(source, local_store), local_store)

    assert rows["id"].to_list() == [1, 2]
    assert "is ignored, and it is read anew" in caplog.text
