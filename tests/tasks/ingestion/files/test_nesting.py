"""Values that are nested too deep for Polars are refused before it sees them."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot


def nest(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


def write_nested_parquet(path: Path, depth: int) -> None:
    """Write a column of lists with pyarrow, as Polars cannot hold them."""
    code = f"""
import pyarrow as pa, pyarrow.parquet as pq
dtype = pa.int64()
for _ in range({depth}):
    dtype = pa.list_(dtype)
table = pa.table({{"a": pa.array([1]), "x": pa.array([None], type=dtype)}})
pq.write_table(table, {str(path)!r}, store_schema=False)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("depth", [33, 400])
def test_a_parquet_file_nested_too_deep_is_refused_and_ends_no_process(
    depth: int, tmp_path: Path
) -> None:
    path = tmp_path / "deep.parquet"
    write_nested_parquet(path, depth)
    # In a process of its own: Polars ends the one in which it reads this file.
    code = f"""
from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import StoreConfig, open_store
try:
    store = open_store(StoreConfig(uri={str(tmp_path / "store")!r}))
    take_snapshot(SourceConfig(uri={str(path)!r}), store)
except SourceError as error:
    print(error)
"""

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert f"{path}: column 'x' is nested more than 32 levels deep" in result.stdout


@pytest.mark.parametrize(
    ("depth", "message"),
    [(33, "column 'x' is nested more than 32"), (5000, "cannot be read as jsonl")],
)
def test_json_lines_nested_too_deep_are_refused(
    depth: int, message: str, tmp_path: Path, local_store: Store
) -> None:
    (tmp_path / "deep.jsonl").write_text(f'{{"a": 1, "x": {nest(depth)}}}\n' * 3)

    with pytest.raises(SourceError, match=message):
        take_snapshot(SourceConfig(uri=str(tmp_path / "deep.jsonl")), local_store)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_values_up_to_the_bound_are_read(suffix: str, tmp_path: Path, local_store: Store) -> None:
    text = tmp_path / "deep.jsonl"
    text.write_text(f'{{"a": 1, "x": {nest(32)}}}\n' * 3)
    path = text.with_suffix(f".{suffix}")
    if suffix == "parquet":
        pl.read_ndjson(text).write_parquet(path)

    snapshot = take_snapshot(SourceConfig(uri=str(path)), local_store)

    assert read_snapshot(snapshot, local_store)["a"].to_list() == [1, 1, 1]
