"""Files are found by path, glob, folder or address, with their partitions."""

import codecs
import datetime as dt
import gzip
import http.server
import threading
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.triggers.new_data import compare_source, record_source_read
from tests.support.sources import make_daily_rows, read_snapshot


@pytest.mark.parametrize("pattern", ["sales", "sales/*/*/*.parquet"])
def test_hive_partitions_are_columns(pattern: str, tmp_path: Path, local_store: Store) -> None:
    for year, shop_name in ((2023, "a b"), (2024, "a b"), (2024, "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "sales" / f"year={year}" / f"shop={shop_name.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pl.DataFrame({"x": [year]}).write_parquet(folder / "0.parquet")

    snapshot = take_snapshot(SourceConfig(uri=str(tmp_path / pattern)), local_store)

    rows = read_snapshot(snapshot, local_store)
    assert rows.schema == {"x": pl.Int64, "year": pl.Int64, "shop": pl.String}
    assert sorted(rows.rows(), key=str) == [
        (2023, 2023, "a b"), (2024, 2024, "a b"), (2024, 2024, None),
    ]  # fmt: skip


def test_a_file_at_a_url_is_read(tmp_path: Path, local_store: Store) -> None:
    make_daily_rows(1, 3).write_parquet(tmp_path / "a.parquet")
    handler = partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}/a.parquet"

        snapshot = take_snapshot(SourceConfig(uri=uri), local_store)

        with pytest.raises(SourceError, match="names no file"):
            take_snapshot(SourceConfig(uri=uri.replace("a.p", "b.p")), local_store)
        server.shutdown()
    assert read_snapshot(snapshot, local_store).equals(make_daily_rows(1, 3))


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_storage_package_is_named_with_its_extra(
    scheme: str, package: str, local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_to_import(*_args: object, **_kwargs: object) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail_to_import)

    with pytest.raises(SourceError, match=rf"cannot be opened(?s:.*)pip install '{package}"):
        take_snapshot(SourceConfig(uri=f"{scheme}://bucket/a.parquet"), local_store)


@pytest.mark.parametrize(
    "name", ["x[1].csv", "x*.csv", "x?.csv", "x#2.csv", "x y.csv", "\u00fc.csv"]
)
def test_special_characters_in_file_names_are_literal(
    name: str, tmp_path: Path, local_store: Store
) -> None:
    (tmp_path / "x1.csv").write_text("a\n1\n")
    (tmp_path / name).write_text("a\n2\n")

    folder = take_snapshot(SourceConfig(uri=str(tmp_path)), local_store)
    single = take_snapshot(SourceConfig(uri=str(tmp_path / name)), local_store)

    assert sorted(read_snapshot(folder, local_store)["a"]) == [1, 2]
    assert read_snapshot(single, local_store)["a"].to_list() == [2]


def test_hidden_folders_are_ignored(tmp_path: Path, local_store: Store) -> None:
    for folder in (".ipynb_checkpoints", "_temporary/0", ".ostinato/store"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.csv").write_text("a\n9\n")
    (tmp_path / "a.csv").write_text("a\n1\n")

    snapshot = take_snapshot(SourceConfig(uri=str(tmp_path)), local_store)

    assert read_snapshot(snapshot, local_store)["a"].to_list() == [1]


def test_a_symbolic_link_is_read_as_its_file(tmp_path: Path, local_store: Store) -> None:
    real = tmp_path / "real.txt"
    real.write_text("a\n1\n")
    (tmp_path / "link.csv").symlink_to(real)
    source = SourceConfig(uri=str(tmp_path / "*.csv"))
    first = take_snapshot(source, local_store)
    real.write_text("a\n2\n")

    second = take_snapshot(source, local_store)

    assert read_snapshot(first, local_store)["a"].to_list() == [1]
    assert read_snapshot(second, local_store)["a"].to_list() == [2]


@pytest.mark.parametrize("pattern", ["", "/day=2024*/*.csv", "/*/*.csv"])
def test_partitions_by_day_are_dates(pattern: str, tmp_path: Path, local_store: Store) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        (tmp_path / f"day={day}").mkdir()
        (tmp_path / f"day={day}" / "a.csv").write_text("a\n1\n")

    rows = read_snapshot(
        take_snapshot(SourceConfig(uri=str(tmp_path) + pattern), local_store), local_store
    )

    assert rows["day"].to_list() == [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]


@pytest.mark.parametrize("where", [".ostinato/store", "artifacts"])
@pytest.mark.parametrize("pattern", ["**/*.parquet", "*/*/*/*/*.parquet", "."])
def test_the_store_is_no_source_of_its_own(
    pattern: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(StoreConfig(uri=where))
    (tmp_path / "days/a/b/c").mkdir(parents=True)
    make_daily_rows(1, 3).write_parquet(tmp_path / "days/a/b/c/1.parquet")
    source = SourceConfig(uri=pattern)

    first = take_snapshot(source, store)
    second = take_snapshot(source, store)

    assert first.facts.rows == 3
    assert second.key == first.key
    assert compare_source("days", source, store).change == "no run has finished on this source yet"
    record_source_read("days", source, StoreConfig(uri=where))
    assert compare_source("days", source, store).change is None


def test_hidden_files_are_read_where_a_pattern_names_them(
    tmp_path: Path, local_store: Store
) -> None:
    for name in (".cache/1.parquet", "seen/2.parquet"):
        (tmp_path / name).parent.mkdir()
        make_daily_rows(1, 3).write_parquet(tmp_path / name)

    def count_rows(pattern: str) -> int:
        return take_snapshot(SourceConfig(uri=f"{tmp_path}/{pattern}"), local_store).facts.rows

    assert count_rows("*/*.parquet") == 3
    assert count_rows(".ca*/*.parquet") == 3
    assert count_rows(".cache/1.parquet") == 3


def test_a_file_of_the_store_is_read_where_it_is_named(local_store: Store) -> None:
    path = Path(local_store.root) / "validate" / "quarantine.parquet"
    path.parent.mkdir(parents=True)
    make_daily_rows(1, 3).write_parquet(path)

    assert take_snapshot(SourceConfig(uri=str(path)), local_store).facts.rows == 3


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.ndjson.gz"])
def test_json_lines_may_begin_with_a_byte_order_mark(
    name: str, tmp_path: Path, local_store: Store
) -> None:
    rows = make_daily_rows(1, 3)
    content = codecs.BOM_UTF8 + rows.write_ndjson().encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    snapshot = take_snapshot(SourceConfig(uri=str(path)), local_store)

    read = read_snapshot(snapshot, local_store)
    assert read.columns == rows.columns
    assert len(read) == 3
    assert not list(Path(local_store.root).glob(".staging/*"))


@pytest.mark.parametrize("content", [codecs.BOM_UTF8, b"\xef\xbb", b"\x1f\x8b\x08 no gzip"])
def test_a_damaged_file_with_or_without_a_mark_is_an_error_of_the_source(
    content: bytes, tmp_path: Path, local_store: Store
) -> None:
    path = tmp_path / ("rows.jsonl.gz" if content.startswith(b"\x1f") else "rows.jsonl")
    path.write_bytes(content)

    with pytest.raises(SourceError, match=path.name):
        take_snapshot(SourceConfig(uri=str(path)), local_store)
