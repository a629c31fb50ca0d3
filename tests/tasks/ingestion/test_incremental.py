"""Recurring ingest: only what is new is read, a time cuts the data, and changes are named."""

import datetime as dt
import http.server
import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks.ingestion.incremental
import tasks.ingestion.parts
from tasks.dataset.rowset import open_snapshot
from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.config import OnChangeConfig, SourceConfig
from tasks.ingestion.files.csv_blocks import is_plain, read_blocks
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Snapshot
from tasks.storage.store import Store

DAY = dt.timedelta(days=1)
START = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - as most sources have it


def noon(day: int) -> dt.datetime:
    return dt.datetime(2024, 1, day, 12, tzinfo=dt.UTC)


def days(first: int, last: int) -> pl.DataFrame:
    times = [START + place * DAY for place in range(first - 1, last)]
    return pl.DataFrame({"at": times, "x": [float(t.day) for t in times]})


def rows_of(snapshot: Snapshot, store: Store) -> pl.DataFrame:
    return open_snapshot(store, snapshot).scan().collect()


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the source files that are opened."""
    opened: list[str] = []
    original = tasks.ingestion.parts.open_file

    def spy(path, file):
        opened.append(Path(file.path).name)
        return original(path, file)

    monkeypatch.setattr(tasks.ingestion.parts, "open_file", spy)
    return opened


def test_only_new_files_are_read_and_the_others_are_shared(
    tmp_path: Path, local_store: Store, files_read: list[str]
) -> None:
    source = SourceConfig(uri=str(tmp_path / "*.parquet"), time="at")
    days(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)
    days(4, 6).write_parquet(tmp_path / "b.parquet")

    second = take_snapshot(source, local_store)

    assert files_read == ["a.parquet", "b.parquet"]
    assert second.facts["parts"][:1] == first.facts["parts"]
    assert rows_of(second, local_store).equals(days(1, 6))
    assert rows_of(first, local_store).equals(days(1, 3))


def test_nothing_new_is_the_same_snapshot(
    tmp_path: Path, local_store: Store, files_read: list[str]
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    days(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)

    second = take_snapshot(source, local_store)

    assert (second.key, second.recomputed) == (first.key, False)
    assert files_read == ["a.parquet"]


@pytest.mark.parametrize("damage", ["gone", "{", "{}", "[]", '{"files": 1}'])
def test_what_is_remembered_of_a_source_may_be_lost(
    damage: str, tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    days(1, 3).write_parquet(tmp_path / "a.parquet")
    first = take_snapshot(source, local_store)
    [path] = Path(local_store.root).glob("trails/*")
    path.write_text(damage, encoding="utf-8") if damage != "gone" else path.unlink()

    assert take_snapshot(source, local_store).key == first.key


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("us"), pl.Datetime("ms", "UTC")])
def test_a_time_cuts_the_data_so_that_a_late_run_sees_what_an_early_one_saw(
    dtype: pl.DataType, tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "*.parquet"), time="at")
    typed = pl.col("at").cast(dtype)
    days(1, 3).with_columns(typed).write_parquet(tmp_path / "a.parquet")
    days(4, 6).with_columns(typed).write_parquet(tmp_path / "b.parquet")
    early = take_snapshot(source, local_store, as_of=noon(5))
    days(7, 9).with_columns(typed).write_parquet(tmp_path / "c.parquet")

    late = take_snapshot(source, local_store, as_of=noon(5))

    assert rows_of(early, local_store).equals(days(1, 5).with_columns(typed))
    assert (late.key, late.recomputed) == (early.key, False)


def test_a_cut_that_cuts_nothing_is_no_change(tmp_path: Path, local_store: Store) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")
    days(1, 3).write_parquet(tmp_path / "a.parquet")

    monday, tuesday = (take_snapshot(source, local_store, as_of=noon(day)) for day in (8, 9))

    assert monday.key == tuesday.key == take_snapshot(source, local_store).key


def test_a_time_before_all_rows_is_told(tmp_path: Path, local_store: Store) -> None:
    days(5, 6).write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    with pytest.raises(SourceError, match=r"no rows up to 2024-01-02 12:00"):
        take_snapshot(source, local_store, as_of=noon(2))


def test_a_time_column_of_numbers_is_not_cut(tmp_path: Path, local_store: Store) -> None:
    frame = pl.DataFrame({"step": [1, 2, 3]})
    frame.write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="step")

    assert rows_of(take_snapshot(source, local_store, as_of=noon(1)), local_store).equals(frame)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        connection.commit()
        yield connection
    connection.close()


def sell(connection: sqlite3.Connection, *ids: int) -> None:
    connection.executemany("INSERT INTO sales VALUES (?, ?)", [(i, i / 2) for i in ids])
    connection.commit()


def shop(tmp_path: Path, **more: object) -> SourceConfig:
    settings_of = {"query": "sales", "watermark": "id"} | more
    return SourceConfig(uri=f"sqlite:///{tmp_path / 'shop.db'}", **settings_of)


@pytest.fixture
def spans_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, object]]:
    """The spans of watermarks that are read of a table."""
    spans: list[tuple[object, object]] = []
    original = tasks.ingestion.incremental.read_batches

    def spy(table, span, *, order_by):
        spans.append((span.after, span.until) if span else (None, None))
        return original(table, span, order_by=order_by)

    monkeypatch.setattr(tasks.ingestion.incremental, "read_batches", spy)
    return spans


def test_of_a_table_only_rows_above_the_last_watermark_are_read(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store, spans_read: list
) -> None:
    sell(database, 1, 2, 3)
    first = take_snapshot(shop(tmp_path), local_store)
    sell(database, 5, 4)

    second = take_snapshot(shop(tmp_path), local_store)
    third = take_snapshot(shop(tmp_path), local_store)

    assert spans_read == [(None, 3), (3, 5)]
    assert second.facts["parts"][:1] == first.facts["parts"]
    assert rows_of(second, local_store)["id"].to_list() == [1, 2, 3, 4, 5]
    assert (third.key, third.recomputed) == (second.key, False)


def test_late_rows_are_noticed_and_read(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store, spans_read: list, caplog
) -> None:
    sell(database, 1, 2)
    take_snapshot(shop(tmp_path), local_store)
    sell(database, 5, 6)
    take_snapshot(shop(tmp_path), local_store)
    sell(database, 4)

    with caplog.at_level(logging.WARNING):
        snapshot = take_snapshot(shop(tmp_path), local_store)

    assert rows_of(snapshot, local_store)["id"].to_list() == [1, 2, 4, 5, 6]
    assert spans_read[2:] == [(2, 6)]
    assert "sales has 5 rows up to id = 6, 4 were read before" in caplog.text


def test_a_table_without_a_watermark_is_read_whole_and_kept_once(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    sell(database, 2, 1)
    source = shop(tmp_path, watermark=None)
    first = take_snapshot(source, local_store)

    second = take_snapshot(source, local_store)

    assert (second.key, second.recomputed) == (first.key, False)
    sell(database, 3)
    assert rows_of(take_snapshot(source, local_store), local_store)["id"].to_list() == [2, 1, 3]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1, max_size=5))
def test_in_steps_or_at_once_the_rows_are_the_same(
    arrivals: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    stores = [Store(fs_local(), str(folder / name), folder / "cache") for name in ("a", "b")]
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
        sell(connection, 0)
        for ids in arrivals:
            sell(connection, *ids)
            in_steps = take_snapshot(shop(folder), stores[0])
        at_once = take_snapshot(shop(folder), stores[1])
    connection.close()

    assert rows_of(in_steps, stores[0]).equals(rows_of(at_once, stores[1]))


def fs_local():
    import fsspec

    return fsspec.filesystem("file")


def test_a_table_is_seen_as_of_a_time_too(local_store: Store, postgres) -> None:
    postgres.sql(
        "DROP TABLE IF EXISTS visits",
        "CREATE TABLE visits (at timestamptz, n int)",
        "INSERT INTO visits SELECT '2024-01-01 00:00+00'::timestamptz + d * interval '1 day', d"
        " FROM generate_series(0, 9) d",
    )
    source = SourceConfig(uri=postgres.uri, query="visits", time="at")

    early = take_snapshot(source, local_store, as_of=noon(4))
    now = take_snapshot(source, local_store, as_of=noon(8))
    back = take_snapshot(source, local_store, as_of=noon(6))

    assert rows_of(early, local_store)["n"].to_list() == [0, 1, 2, 3]
    assert rows_of(now, local_store)["n"].to_list() == list(range(8))
    assert rows_of(back, local_store)["n"].to_list() == list(range(6))
    assert back.facts["parts"] == now.facts["parts"]


def test_a_watermark_that_is_not_there_names_the_columns(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    sell(database, 1)

    with pytest.raises(SourceError, match=r"(?s)no column 'when'.*id, amount"):
        take_snapshot(shop(tmp_path, watermark="when"), local_store)


def change_files(folder: Path, what: str) -> None:
    frame = days(1, 6)
    match what:
        case "missing":
            (folder / "b.parquet").unlink()
        case "row_loss":
            frame[:2].write_parquet(folder / "a.parquet")
        case "added":
            frame.with_columns(y=pl.lit(1)).write_parquet(folder / "a.parquet")
        case "removed":
            frame.drop("x").write_parquet(folder / "a.parquet")
        case "retyped":
            frame.with_columns(pl.col("x").cast(pl.Float32)).write_parquet(folder / "a.parquet")


CHANGES = [
    ("missing", "missing", "1 file(s) of the last snapshot are missing", "b.parquet"),
    ("row_loss", "row_loss", "the source has shrunk from 7 to 3 rows", "max_row_loss"),
    ("added", "schema", "columns have changed", "added y (Int32)"),
    ("removed", "schema", "does not have the columns of", "added x (Float64)"),
    ("retyped", "schema", "does not have the columns of", "retyped x (Float32 -> Float64)"),
]


@pytest.mark.parametrize(("what", "key", "message", "detail"), CHANGES)
@pytest.mark.parametrize("policy", ["accept", "warn", "stop"])
def test_a_change_of_the_source_is_named_and_its_owner_says_what_then(
    what: str, key: str, message: str, detail: str, policy: str, tmp_path: Path,
    local_store: Store, caplog,
) -> None:  # fmt: skip
    everything = {"missing": "accept", "row_loss": "accept", "schema": "accept"}
    changes = OnChangeConfig(**(everything | {key: policy}))
    source = SourceConfig(uri=str(tmp_path / "*.parquet"), on_change=changes)
    days(1, 6).write_parquet(tmp_path / "a.parquet")
    days(7, 7).write_parquet(tmp_path / "b.parquet")
    take_snapshot(source, local_store)
    change_files(tmp_path, what)

    if policy == "stop":
        with pytest.raises(SourceError) as caught:
            take_snapshot(source, local_store)
        text = str(caught.value)
        assert f"--set source.on_change.{key}=accept" in text
    else:
        with caplog.at_level(logging.WARNING):
            take_snapshot(source, local_store)
        text = caplog.text

    assert (message in text and detail in text) is (policy != "accept")


def test_a_stop_is_not_remembered_as_the_new_state(tmp_path: Path, local_store: Store) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"))
    days(1, 6).write_parquet(tmp_path / "a.parquet")
    take_snapshot(source, local_store)
    days(1, 2).write_parquet(tmp_path / "a.parquet")

    for _ in range(2):
        with pytest.raises(SourceError, match="shrunk from 6 to 2 rows"):
            take_snapshot(source, local_store)


def test_columns_of_all_files_make_the_table(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"b": ["y"], "a": [2.5], "c": [True]}).write_parquet(tmp_path / "2.parquet")

    rows = rows_of(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows.to_dicts() == [
        {"a": 1.0, "b": "x", "c": None},
        {"a": 2.5, "b": "y", "c": True},
    ]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "tsv", "jsonl.gz", "arrow", "pq"])
def test_every_kind_of_file_is_read(suffix: str, tmp_path: Path, local_store: Store) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", "\u00fc"]})
    path = tmp_path / f"data.{suffix}"
    match suffix:
        case "csv":
            frame.write_csv(path)
        case "csv.gz":
            frame.lazy().sink_csv(path, compression="gzip")
        case "csv.zst":
            frame.lazy().sink_csv(path, compression="zstd")
        case "tsv":
            frame.write_csv(path, separator="\t")
        case "jsonl.gz":
            frame.lazy().sink_ndjson(path, compression="gzip")
        case "arrow":
            frame.write_ipc(path, compression="lz4")
        case "pq":
            frame.write_parquet(path)

    snapshot = take_snapshot(SourceConfig(uri=str(path)), local_store)

    assert rows_of(snapshot, local_store).equals(frame)


@pytest.mark.parametrize("pattern", ["sales", "sales/*/*/*.parquet"])
def test_folders_of_a_hive_partition_are_columns(
    pattern: str, tmp_path: Path, local_store: Store
) -> None:
    for year, shop_name in ((2023, "a b"), (2024, "a b"), (2024, "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "sales" / f"year={year}" / f"shop={shop_name.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pl.DataFrame({"x": [year]}).write_parquet(folder / "0.parquet")

    snapshot = take_snapshot(SourceConfig(uri=str(tmp_path / pattern)), local_store)

    rows = rows_of(snapshot, local_store)
    assert rows.schema == {"x": pl.Int64, "year": pl.Int64, "shop": pl.String}
    assert sorted(rows.rows(), key=str) == [
        (2023, 2023, "a b"), (2024, 2024, "a b"), (2024, 2024, None),
    ]  # fmt: skip


def test_a_file_on_the_web_is_read(tmp_path: Path, local_store: Store) -> None:
    days(1, 3).write_parquet(tmp_path / "a.parquet")
    handler = partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}/a.parquet"

        snapshot = take_snapshot(SourceConfig(uri=uri), local_store)

        with pytest.raises(SourceError, match="names no file"):
            take_snapshot(SourceConfig(uri=uri.replace("a.p", "b.p")), local_store)
        server.shutdown()
    assert rows_of(snapshot, local_store).equals(days(1, 3))


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gcs"), ("az", "azure")])
def test_a_storage_whose_package_is_missing_is_told_with_the_mend(
    scheme: str, extra: str, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_args: object, **_kwargs: object) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)

    with pytest.raises(SourceError, match=rf"cannot be opened(?s:.*)\[{extra}\] for {scheme}://"):
        take_snapshot(SourceConfig(uri=f"{scheme}://bucket/a.parquet"), local_store)


def test_columns_of_paths_become_the_bytes_of_their_files(
    tmp_path: Path, local_store: Store, caplog
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(b"one")
    paths = ["pictures/1.png", None, "pictures/2.png"]
    pl.DataFrame({"id": [1, 2, 3], "picture": paths}).write_csv(tmp_path / "list.csv")
    source = SourceConfig(uri=str(tmp_path / "list.csv"), file_columns=("picture",))

    first = take_snapshot(source, local_store)
    (tmp_path / "pictures" / "1.png").write_bytes(b"other")
    second = take_snapshot(source, local_store)

    assert rows_of(first, local_store)["picture"].to_list() == [b"one", None, None]
    assert rows_of(second, local_store)["picture"].to_list() == [b"other", None, None]
    assert "1 file(s) that rows refer to are not there" in caplog.text


def test_a_column_that_holds_no_paths_is_told(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"id": [1]}).write_csv(tmp_path / "list.csv")
    source = SourceConfig(uri=str(tmp_path / "list.csv"), file_columns=("id",))

    with pytest.raises(SourceError, match="column 'id' holds Int64, no paths"):
        take_snapshot(source, local_store)


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [
        ({"uri": "postgresql://me:secret@host/db", "query": "t"}, "holds a password"),
        ({"uri": "postgresql://me@host/db"}, "name the database's table"),
        ({"uri": "data.parquet", "query": "t"}, "only a database is queried"),
        ({"uri": " "}, "name a file"),
    ],
)
def test_a_source_that_cannot_be_is_refused_at_once(settings_of: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(**settings_of)


def test_a_row_in_the_future_changes_nothing_from_one_run_to_the_next(
    tmp_path: Path, local_store: Store
) -> None:
    pl.concat([days(1, 3), days(30, 30)]).write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    keys = {take_snapshot(source, local_store, as_of=noon(day)).key for day in (5, 6, 20)}

    assert len(keys) == 1


def test_one_moment_is_one_cut_whatever_its_zone(tmp_path: Path, local_store: Store) -> None:
    hours = pl.datetime_range(START, START + 2 * DAY, "1h", eager=True).alias("at")
    pl.DataFrame([hours]).write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")
    tokyo = noon(1).astimezone(dt.timezone(dt.timedelta(hours=9)))

    here, there = (take_snapshot(source, local_store, as_of=moment) for moment in (noon(1), tokyo))

    assert here.key == there.key
    assert here.facts["rows"] == 13


def test_times_in_any_zone_are_cut(tmp_path: Path, local_store: Store) -> None:
    zoned = days(1, 9).with_columns(pl.col("at").dt.replace_time_zone("Europe/Berlin"))
    zoned.write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    snapshot = take_snapshot(source, local_store, as_of=noon(4))

    assert rows_of(snapshot, local_store).equals(zoned[:4])


def test_days_in_one_file_and_times_in_another_are_cut(tmp_path: Path, local_store: Store) -> None:
    (tmp_path / "a.csv").write_text("at,x\n2024-01-01,1\n2024-01-09,2\n")
    (tmp_path / "b.csv").write_text("at,x\n2024-01-02 10:00:00,3\n2024-01-08 10:00:00,4\n")
    source = SourceConfig(uri=str(tmp_path / "*.csv"), time="at")

    snapshot = take_snapshot(source, local_store, as_of=noon(5))

    assert rows_of(snapshot, local_store)["x"].to_list() == [1, 3]


def test_a_field_of_the_same_name_is_no_time(tmp_path: Path, local_store: Store) -> None:
    frame = days(1, 3).with_columns(m=pl.struct(at=pl.lit(5)))
    frame.select("m", "at").write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    assert take_snapshot(source, local_store, as_of=noon(2)).facts["rows"] == 2


def test_a_watermark_that_is_no_time_leaves_the_time_to_cut_by(
    tmp_path: Path, local_store: Store
) -> None:
    days(1, 5).with_row_index("id").write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at", watermark="id")

    assert take_snapshot(source, local_store, as_of=noon(2)).facts["rows"] == 2


def test_times_written_as_text_are_told_not_to_cut(
    tmp_path: Path, local_store: Store, caplog
) -> None:
    days(1, 3).with_columns(pl.col("at").cast(pl.String)).write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    take_snapshot(source, local_store, as_of=noon(1))

    assert "'at' holds text, no dates" in caplog.text


@pytest.mark.parametrize(
    "name", ["x[1].csv", "x*.csv", "x?.csv", "x#2.csv", "x y.csv", "\u00fc.csv"]
)
def test_any_name_of_a_file_is_its_name(name: str, tmp_path: Path, local_store: Store) -> None:
    (tmp_path / "x1.csv").write_text("a\n1\n")
    (tmp_path / name).write_text("a\n2\n")

    folder = take_snapshot(SourceConfig(uri=str(tmp_path)), local_store)
    alone = take_snapshot(SourceConfig(uri=str(tmp_path / name)), local_store)

    assert sorted(rows_of(folder, local_store)["a"]) == [1, 2]
    assert rows_of(alone, local_store)["a"].to_list() == [2]


def test_hidden_folders_are_no_data(tmp_path: Path, local_store: Store) -> None:
    for place in (".ipynb_checkpoints", "_temporary/0", ".ostinato/store"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.csv").write_text("a\n9\n")
    (tmp_path / "a.csv").write_text("a\n1\n")

    snapshot = take_snapshot(SourceConfig(uri=str(tmp_path)), local_store)

    assert rows_of(snapshot, local_store)["a"].to_list() == [1]


def test_behind_a_link_the_file_counts(tmp_path: Path, local_store: Store) -> None:
    real = tmp_path / "real.txt"
    real.write_text("a\n1\n")
    (tmp_path / "link.csv").symlink_to(real)
    source = SourceConfig(uri=str(tmp_path / "*.csv"))
    first = take_snapshot(source, local_store)
    real.write_text("a\n2\n")

    second = take_snapshot(source, local_store)

    assert rows_of(first, local_store)["a"].to_list() == [1]
    assert rows_of(second, local_store)["a"].to_list() == [2]


def test_a_file_that_is_written_while_it_is_read_is_read_again(
    tmp_path: Path, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    original = tasks.ingestion.parts.open_file

    def replaced(place, file):
        path.write_text("a\n99\n")
        return original(place, file)

    monkeypatch.setattr(tasks.ingestion.parts, "open_file", replaced)
    with pytest.raises(SourceDownError, match="was written while it was read"):
        take_snapshot(SourceConfig(uri=str(path)), local_store)
    monkeypatch.undo()
    path.write_text("a\n1\n")

    assert rows_of(take_snapshot(SourceConfig(uri=str(path)), local_store), local_store)[
        "a"
    ].to_list() == [1]


def test_a_file_without_values_does_not_make_the_others_text(
    tmp_path: Path, local_store: Store
) -> None:
    (tmp_path / "a.csv").write_text("a,t\n1,2024-01-01\n")
    (tmp_path / "b.csv").write_text("a,t\n")
    (tmp_path / "c.csv").write_text("a,t\n,\n")

    rows = rows_of(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows.schema == {"a": pl.Int64, "t": pl.Date}
    assert rows["a"].to_list() == [1, None]


@pytest.mark.parametrize("pattern", ["", "/day=2024*/*.csv", "/*/*.csv"])
def test_partitions_by_day_are_days(pattern: str, tmp_path: Path, local_store: Store) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        (tmp_path / f"day={day}").mkdir()
        (tmp_path / f"day={day}" / "a.csv").write_text("a\n1\n")

    rows = rows_of(
        take_snapshot(SourceConfig(uri=str(tmp_path) + pattern), local_store), local_store
    )

    assert rows["day"].to_list() == [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]


def test_each_row_s_pictures_lie_beside_its_own_file(tmp_path: Path, local_store: Store) -> None:
    for place in range(300):
        folder = tmp_path / f"f{place:03}"
        folder.mkdir()
        (folder / "a.bin").write_bytes(b"%d" % place)
        (folder / "l.csv").write_text("p\na.bin\n")
    source = SourceConfig(uri=str(tmp_path / "*" / "l.csv"), file_columns=("p",))

    rows = rows_of(take_snapshot(source, local_store), local_store)

    assert rows["p"].to_list() == [b"%d" % place for place in range(300)]


def test_numbers_with_more_digits_than_fit_are_kept_as_text(
    tmp_path: Path, local_store: Store
) -> None:
    (tmp_path / "a.csv").write_text("a\n12345678901234567890123\n")

    rows = rows_of(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows["a"].to_list() == ["12345678901234567890123"]


def test_ids_beside_fractions_keep_their_digits(tmp_path: Path, local_store: Store) -> None:
    ids = [str(2**53 + 1)] * 20_000
    (tmp_path / "a.csv").write_text("\n".join(["a", *ids, "1.5"]) + "\n")

    rows = rows_of(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows["a"].to_list() == [*ids, "1.5"]


lines = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-(10**6), 10**6)),
        st.text(st.sampled_from("ab \u00fc'"), max_size=4),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=lines, size=st.integers(1, 60), ending=st.sampled_from(["\n", "\r\n"]))
def test_blocks_of_a_text_file_are_the_file(
    values: list[tuple], size: int, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    cells = [f"{'' if a is None else a},{b}" for a, b in values]
    path.write_bytes(ending.join(["a,b", *cells, ""]).encode())
    schema = {"a": pl.Int64(), "b": pl.String()}

    frames = list(read_blocks(path, separator=",", schema=schema, size=size))

    assert is_plain(path)
    assert pl.concat(frames).equals(pl.read_csv(path, schema=schema))


def test_a_quoted_line_feed_is_no_end_of_a_row(tmp_path: Path, local_store: Store) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,"x\ny"\n2,z\n')

    rows = rows_of(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows.rows() == [(1, "x\ny"), (2, "z")]


def test_names_that_are_used_here_are_refused(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"__row__": [1]}).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(SourceError, match="names that are used here: __row__"):
        take_snapshot(SourceConfig(uri=str(tmp_path)), local_store)


def test_records_of_different_fields_have_all_of_them(tmp_path: Path, local_store: Store) -> None:
    pl.DataFrame({"s": [{"a": 1}]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"s": [{"b": 1}]}).write_parquet(tmp_path / "b.parquet")

    rows = rows_of(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows["s"].to_list() == [{"a": 1, "b": None}, {"a": None, "b": 1}]


def test_a_table_that_was_emptied_has_no_rows(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    sell(database, 1, 2)
    take_snapshot(shop(tmp_path), local_store)
    database.execute("DELETE FROM sales")
    database.commit()

    with pytest.raises(SourceError, match="the table has no rows"):
        take_snapshot(shop(tmp_path), local_store)


def test_rows_without_a_watermark_are_told(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store, caplog
) -> None:
    sell(database, 1, 2)
    database.execute("INSERT INTO sales VALUES (NULL, 7)")
    database.commit()

    take_snapshot(shop(tmp_path), local_store)

    assert "1 row(s) of sales have no 'id' and are left out" in caplog.text


def test_the_same_name_in_another_folder_is_another_database(
    tmp_path: Path, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number, place in enumerate(("p", "q")):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        with sqlite3.connect("shop.db") as connection:
            connection.execute("CREATE TABLE sales (id INTEGER, amount REAL)")
            connection.execute("INSERT INTO sales VALUES (1, ?)", (number,))
            connection.commit()
        connection.close()
        source = SourceConfig(uri="sqlite:///shop.db", query="sales", watermark="id")
        found.append(rows_of(take_snapshot(source, local_store), local_store)["amount"][0])

    assert found == [0, 1]


def test_columns_that_a_table_got_later_are_read_for_all_rows(
    database: sqlite3.Connection, tmp_path: Path, local_store: Store
) -> None:
    sell(database, 1, 2)
    take_snapshot(shop(tmp_path), local_store)
    database.execute("ALTER TABLE sales ADD COLUMN b INTEGER")
    database.execute("UPDATE sales SET b = id")
    database.commit()

    rows = rows_of(take_snapshot(shop(tmp_path), local_store), local_store)

    assert rows["b"].to_list() == [1, 2]


@pytest.mark.parametrize("order", [(3, 8, None), (8, 3, None), (None, 3, 8)])
def test_a_lake_table_is_seen_as_of_any_time_in_any_order(
    order: tuple[int | None, ...], tmp_path: Path, local_store: Store
) -> None:
    days(1, 10).write_delta(tmp_path / "lake")
    source = SourceConfig(uri=str(tmp_path / "lake"), time="at")

    for day in order:
        snapshot = take_snapshot(source, local_store, as_of=noon(day) if day else None)

        assert rows_of(snapshot, local_store)["x"].to_list() == [
            float(x) for x in range(1, (day or 10) + 1)
        ]


def test_parts_that_were_deleted_are_read_again(tmp_path: Path, local_store: Store) -> None:
    days(1, 10).write_delta(tmp_path / "lake")
    source = SourceConfig(uri=str(tmp_path / "lake"), time="at")
    take_snapshot(source, local_store, as_of=noon(5))
    snapshot = take_snapshot(source, local_store)
    shutil.rmtree(Path(local_store.root) / "part" / snapshot.facts["parts"][1])

    assert take_snapshot(source, local_store).facts["rows"] == 10
