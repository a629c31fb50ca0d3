"""Ingestion: the rows of a source become a snapshot unchanged, or a damaged file is named."""

import datetime as dt
import os
import uuid
from decimal import Decimal
from pathlib import Path

import fsspec
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.dataset.rowset import open_snapshot
from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Snapshot
from tasks.storage.store import Store

pytestmark = [
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

FRAME = pl.DataFrame(
    {
        "day": [dt.date(2024, 1, day) for day in (1, 2, 3)],
        "sales": [1.5, None, 3.5],
        "shop": ["a", "\u00fc", None],
    }
)


def ingest_rows(uri: str, store: Store) -> pl.DataFrame:
    return read_rows(take_snapshot(SourceConfig(uri=uri), store), store)


def read_rows(snapshot: Snapshot, store: Store) -> pl.DataFrame:
    return open_snapshot(store, snapshot).scan().collect()


def write_frame(frame: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writers = {
        ".parquet": frame.write_parquet,
        ".csv": frame.write_csv,
        ".jsonl": frame.write_ndjson,
    }
    writers[path.suffix](path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_is_copied_with_its_types(suffix: str, tmp_path: Path, local_store: Store) -> None:
    path = write_frame(FRAME, tmp_path / f"data{suffix}")

    assert ingest_rows(str(path), local_store).equals(FRAME)


def test_json_lines_are_read(tmp_path: Path, local_store: Store) -> None:
    path = write_frame(FRAME.drop("day"), tmp_path / "data.jsonl")

    assert ingest_rows(str(path), local_store).equals(FRAME.drop("day"))


@pytest.mark.parametrize("pattern", ["many/*.parquet", "many", "many/part-?.parquet"])
def test_many_files_are_read_in_the_order_of_their_names(
    pattern: str, tmp_path: Path, local_store: Store
) -> None:
    for index in (2, 0, 1):
        part = FRAME.with_columns(part=pl.lit(index))
        write_frame(part, tmp_path / "many" / f"part-{index}.parquet")
    (tmp_path / "many" / "_notes.txt").write_text("no data", encoding="utf-8")

    rows = ingest_rows(str(tmp_path / pattern), local_store)

    assert rows["part"].to_list() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("pattern", ["data/one.parquet", "data/*.parquet", "data"])
def test_object_storage_is_read_like_a_folder(
    pattern: str, s3_bucket: str, tmp_path: Path, local_store: Store
) -> None:
    path = write_frame(FRAME, tmp_path / "one.parquet")
    fsspec.filesystem("s3").put_file(str(path), f"{s3_bucket}/data/one.parquet")

    first = take_snapshot(SourceConfig(uri=f"s3://{s3_bucket}/{pattern}"), local_store)
    second = take_snapshot(SourceConfig(uri=f"s3://{s3_bucket}/{pattern}"), local_store)

    assert read_rows(first, local_store).equals(FRAME)
    assert not second.recomputed


def test_the_same_content_is_one_snapshot_whatever_its_path_and_age(
    tmp_path: Path, local_store: Store
) -> None:
    path = write_frame(FRAME, tmp_path / "data.parquet")
    first = take_snapshot(SourceConfig(uri=str(path)), local_store)
    os.utime(path, (1, 1))
    moved = path.rename(tmp_path / "elsewhere.parquet")

    second = take_snapshot(SourceConfig(uri=str(moved)), local_store)

    assert not second.recomputed
    assert second.key == first.key


def test_changed_content_is_another_snapshot(tmp_path: Path, local_store: Store) -> None:
    first = take_snapshot(
        SourceConfig(uri=str(write_frame(FRAME, tmp_path / "data.parquet"))), local_store
    )
    changed = write_frame(FRAME.with_columns(sales=pl.lit(2.0)), tmp_path / "data.parquet")

    second = take_snapshot(SourceConfig(uri=str(changed)), local_store)

    assert second.recomputed
    assert second.key != first.key


def write_truncated_parquet(path: Path) -> None:
    write_frame(FRAME, path)
    path.write_bytes(path.read_bytes()[:-30])


DAMAGES = {
    "truncated.parquet": (write_truncated_parquet, "truncated.parquet cannot be read as parquet"),
    "empty.parquet": (lambda path: path.write_bytes(b""), "empty.parquet: the file is empty"),
    "header.csv": (lambda path: path.write_text("a,b\n"), "columns but no rows"),
    "latin.csv": (lambda path: path.write_bytes(b"a,b\n1,sch\xf6n\n"), "(?s)latin.csv.*iconv"),
    "cut.jsonl": (lambda path: path.write_text('{"a": 1}\n{"a":'), "cut.jsonl cannot be read"),
    "data.xlsx": (
        lambda path: path.write_bytes(b"PK"),
        "files with the suffix '.xlsx' cannot be read",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_and_nothing_is_published(
    name: str, tmp_path: Path, local_store: Store
) -> None:
    damage, message = DAMAGES[name]
    damage(tmp_path / name)

    with pytest.raises(SourceError, match=message):
        take_snapshot(SourceConfig(uri=str(tmp_path / name)), local_store)

    assert not list(Path(local_store.root).glob("ingest/*"))
    assert not list(Path(local_store.root).glob(".staging/*"))


def test_the_damaged_file_among_many_is_named(tmp_path: Path, local_store: Store) -> None:
    text = "".join(f"{number},x\n" for number in range(5000))
    for index in range(4):
        (tmp_path / f"part-{index}.csv").write_text("a,b\n" + text, encoding="utf-8")
    with (tmp_path / "part-2.csv").open("ab") as file:
        file.write(b"1,\xff\n")

    with pytest.raises(SourceError, match=r"part-2\.csv cannot be read"):
        take_snapshot(SourceConfig(uri=str(tmp_path / "*.csv")), local_store)


def test_files_of_incompatible_types_are_refused(tmp_path: Path, local_store: Store) -> None:
    write_frame(FRAME, tmp_path / "a.parquet")
    write_frame(FRAME.with_columns(sales=pl.lit([1, 2])), tmp_path / "b.parquet")

    with pytest.raises(SourceError, match=r"(?s)b\.parquet does not fit .*a\.parquet.*sales"):
        take_snapshot(SourceConfig(uri=str(tmp_path / "*.parquet")), local_store)


def test_a_missing_source_is_reported_with_its_path(tmp_path: Path, local_store: Store) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)names no file.*relative one starts from the working"
    ):
        take_snapshot(SourceConfig(uri=str(tmp_path / "nothing.parquet")), local_store)


def test_a_file_with_every_type_is_copied_unchanged(tmp_path: Path, local_store: Store) -> None:
    frame = pl.DataFrame(
        {
            "short": pl.Series([0.1, None], dtype=pl.Float32),
            "byte": pl.Series([0, 255], dtype=pl.UInt8),
            "large": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
            "moment": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None],
            "nanosecond": pl.Series([1, None]).cast(pl.Datetime("ns")),
            "span": [dt.timedelta(days=1), None],
            "clock": [dt.time(1), None],
            "money": [Decimal("1.25"), None],
            "bytes": [b"\xff\x00", b""],
            "array": pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float64, 2)),
            "struct": [{"a": 1, "b": [1, None]}, {"a": None, "b": []}],
            "category": pl.Series(["a", None], dtype=pl.Categorical),
            "choice": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
            "nothing": [None, None],
        }
    )
    path = write_frame(frame, tmp_path / "data.parquet")

    assert ingest_rows(str(path), local_store).equals(frame)
    assert ingest_rows(str(path), local_store).schema == frame.schema


def test_large_cells_are_written_in_small_row_groups(tmp_path: Path, local_store: Store) -> None:
    frame = pl.DataFrame({"blob": [os.urandom(400_000) for _ in range(400)]})
    path = write_frame(frame, tmp_path / "blobs.parquet")

    snapshot = take_snapshot(SourceConfig(uri=str(path)), local_store)

    [path] = open_snapshot(local_store, snapshot).paths
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(g).total_byte_size for g in range(metadata.num_row_groups)]
    assert max(sizes) < 80 * 2**20
    assert metadata.num_rows == 400


rows = st.fixed_dictionaries(
    {
        "number": st.one_of(st.none(), st.floats(allow_nan=False)),
        "integer": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "text": st.one_of(st.none(), st.text(max_size=4)),
        "flag": st.booleans(),
        "blob": st.binary(max_size=4),
        "list": st.lists(st.integers(0, 9), max_size=3),
    }
)
SCHEMA = {
    "number": pl.Float64,
    "integer": pl.Int64,
    "text": pl.String,
    "flag": pl.Boolean,
    "blob": pl.Binary,
    "list": pl.List(pl.Int64),
}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(rows, min_size=1, max_size=10))
def test_a_snapshot_contains_exactly_the_rows_of_its_source(
    values: list[dict], tmp_path: Path, local_store: Store
) -> None:
    frame = pl.DataFrame(values, schema=SCHEMA)
    path = write_frame(frame, tmp_path / f"any-{uuid.uuid4()}.parquet")

    assert ingest_rows(str(path), local_store).equals(frame)
