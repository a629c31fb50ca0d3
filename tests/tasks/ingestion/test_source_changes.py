"""A change of the source is ignored, reported or refused, by its policy."""

import logging
from pathlib import Path

import polars as pl
import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import OnChangeConfig, SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import make_daily_rows


def change_files(folder: Path, change: str) -> None:
    frame = make_daily_rows(1, 6)
    match change:
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
    ("row_loss", "row_loss", "the source shrank from 7 to 3 rows", "max_row_loss"),
    ("added", "schema", "columns have changed", "added y (Int32)"),
    ("removed", "schema", "does not have the columns of", "added x (Float64)"),
    ("retyped", "schema", "does not have the columns of", "retyped x (Float32 -> Float64)"),
]


@pytest.mark.parametrize(("change", "key", "message", "detail"), CHANGES)
@pytest.mark.parametrize("policy", ["ignore", "warn", "fail"])
def test_a_change_of_the_source_is_handled_by_its_policy(
    change: str, key: str, message: str, detail: str, policy: str, tmp_path: Path,
    local_store: Store, caplog,
) -> None:  # fmt: skip
    ignore_all = {"missing": "ignore", "row_loss": "ignore", "schema": "ignore"}
    changes = OnChangeConfig(**(ignore_all | {key: policy}))
    source = SourceConfig(uri=str(tmp_path / "*.parquet"), on_change=changes)
    make_daily_rows(1, 6).write_parquet(tmp_path / "a.parquet")
    make_daily_rows(7, 7).write_parquet(tmp_path / "b.parquet")
    take_snapshot(source, local_store)
    change_files(tmp_path, change)

    if policy == "fail":
        with pytest.raises(SourceError) as caught:
            take_snapshot(source, local_store)
        text = str(caught.value)
        assert f"--set source.on_change.{key}=ignore" in text
    else:
        with caplog.at_level(logging.WARNING):
            take_snapshot(source, local_store)
        text = caplog.text

    assert (message in text and detail in text) is (policy != "ignore")
