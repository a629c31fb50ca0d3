"""Every format is read with types that fit all of its rows."""

from pathlib import Path

import polars as pl
import pytest

from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "tsv", "jsonl.gz", "arrow", "pq"])
def test_every_file_format_is_read(suffix: str, tmp_path: Path, local_store: Store) -> None:
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

    assert read_snapshot(snapshot, local_store).equals(frame)


def test_a_file_without_values_does_not_change_the_types(
    tmp_path: Path, local_store: Store
) -> None:
    (tmp_path / "a.csv").write_text("a,t\n1,2024-01-01\n")
    (tmp_path / "b.csv").write_text("a,t\n")
    (tmp_path / "c.csv").write_text("a,t\n,\n")

    rows = read_snapshot(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows.schema == {"a": pl.Int64, "t": pl.Date}
    assert rows["a"].to_list() == [1, None]


def test_integers_beyond_int64_are_read_as_text(tmp_path: Path, local_store: Store) -> None:
    (tmp_path / "a.csv").write_text("a\n12345678901234567890123\n")

    rows = read_snapshot(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows["a"].to_list() == ["12345678901234567890123"]


def test_large_integers_among_fractions_keep_their_digits(
    tmp_path: Path, local_store: Store
) -> None:
    ids = [str(2**53 + 1)] * 20_000
    (tmp_path / "a.csv").write_text("\n".join(["a", *ids, "1.5"]) + "\n")

    rows = read_snapshot(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows["a"].to_list() == [*ids, "1.5"]
