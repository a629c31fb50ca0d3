"""Rows sorted on disk are in the same order as rows sorted in memory."""

import datetime as dt
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from tasks.dataset import external_sort
from tests.support.tables import NOON


@pytest.mark.parametrize("column", ["number", "ratio", "word", "at", "day", "price", "common"])
def test_sorting_on_disk_agrees_with_sorting_in_memory(tmp_path: Path, monkeypatch, column) -> None:
    count = 5000
    rows = pl.select(number=pl.int_range(count)).select(
        pl.col("number").shuffle(seed=1),
        ratio=pl.when(pl.int_range(count) % 7 == 0).then(float("nan")).otherwise(
            pl.int_range(count).shuffle(seed=2) / 3
        ),
        word=pl.when(pl.int_range(count) % 5 > 0).then(
            pl.int_range(count).shuffle(seed=3).cast(pl.String)
        ),
        at=pl.lit(NOON.replace(tzinfo=dt.UTC))
        + pl.duration(hours=pl.int_range(count).shuffle(seed=4) // 50),
        day=pl.lit(NOON.date()) + pl.duration(days=pl.int_range(count).shuffle(seed=5) // 9),
        price=(pl.int_range(count).shuffle(seed=6) / 4).cast(pl.Decimal(12, 2)),
        common=pl.when(pl.int_range(count) % 10 > 0).then(1),
    )  # fmt: skip
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=512)
    monkeypatch.setattr(external_sort, "RANGE_BYTES", 10_000)

    result = pl.DataFrame(
        pa.Table.from_batches(
            list(external_sort.sort_rows(pl.scan_parquet(tmp_path / "*"), column))
        )
    )

    assert result.equals(rows.sort(column, maintain_order=True))
