"""Columns of text are parsed into dates, times and numbers when a snapshot is taken."""

import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from models.features.text_columns import parse_text
from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot


def parse(text: str, text_format: str) -> object:
    frame = pl.DataFrame({"text": [text]})
    return frame.select(parse_text(pl.col("text"), text_format)).item()


@pytest.mark.parametrize(
    ("text", "text_format", "value"),
    [
        ("1949-01", "%Y-%m", date(1949, 1, 1)),
        ("31.12.2020", "%d.%m.%Y", date(2020, 12, 31)),
        ("2020-Q3", "%Y-Q%q", date(2020, 7, 1)),
        ("3 Jan 2020", "%d %b %Y", date(2020, 1, 3)),
        ("01/02/2020 13:05", "%d/%m/%Y %H:%M", datetime(2020, 2, 1, 13, 5)),  # noqa: DTZ001
        ("2020-01-01T00:00:00Z", "%Y-%m-%dT%H:%M:%S%z", datetime(2020, 1, 1, tzinfo=UTC)),
        (" 1.5 ", "number", 1.5),
        ("", "number", None),
        ("", "%Y-%m", None),
    ],
)
def test_a_text_is_parsed_by_its_format(text: str, text_format: str, value: object) -> None:
    assert parse(text, text_format) == value


def test_the_snapshot_of_a_file_has_the_parsed_types(tmp_path: Path, local_store: Store) -> None:
    path = tmp_path / "air.parquet"
    pl.DataFrame({"month": ["1949-01", "1949-02"], "sold": ["3", "4.5"]}).write_parquet(path)
    source = SourceConfig(uri=str(path), parse={"month": "%Y-%m", "sold": "number"})

    rows = read_snapshot(take_snapshot(source, local_store), local_store)

    assert rows["month"].to_list() == [date(1949, 1, 1), date(1949, 2, 1)]
    assert rows["sold"].to_list() == [3.0, 4.5]


def test_a_table_is_parsed_as_a_file_is(tmp_path: Path, local_store: Store) -> None:
    with sqlite3.connect(tmp_path / "air.db") as connection:
        connection.execute("CREATE TABLE air (month TEXT, sold REAL)")
        connection.execute("INSERT INTO air VALUES ('02/1949', 4.5), ('01/1950', 3)")
    connection.close()
    source = SourceConfig(
        uri=f"sqlite:///{tmp_path / 'air.db'}", query="air", time="month", parse={"month": "%m/%Y"}
    )

    snapshot = take_snapshot(source, local_store, as_of=datetime(1949, 6, 1, tzinfo=UTC))

    assert read_snapshot(snapshot, local_store)["month"].to_list() == [date(1949, 2, 1)]


def test_a_text_of_another_format_is_shown(tmp_path: Path, local_store: Store) -> None:
    path = tmp_path / "air.parquet"
    pl.DataFrame({"month": ["1949-01", "soon"]}).write_parquet(path)
    source = SourceConfig(uri=str(path), parse={"month": "%Y-%m"})

    with pytest.raises(SourceError, match=r"(?s)1 text\(s\) that are not '%Y-%m'.*'soon'"):
        take_snapshot(source, local_store)


def test_a_column_that_is_missing_is_named(tmp_path: Path, local_store: Store) -> None:
    path = tmp_path / "air.parquet"
    pl.DataFrame({"month": ["1949-01"]}).write_parquet(path)

    with pytest.raises(SourceError, match="has no column 'day'"):
        take_snapshot(SourceConfig(uri=str(path), parse={"day": "%Y-%m"}), local_store)


def test_a_format_without_parts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"parse\.day: 'iso' is no format"):
        SourceConfig(uri="data.parquet", parse={"day": "iso"})
