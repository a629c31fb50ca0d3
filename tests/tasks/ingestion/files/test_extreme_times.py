"""Times that Polars cannot show are missing values, and end no process."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot

SMALLEST, LARGEST = -(2**63) + 1, 2**63 - 1


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Datetime("ms", "Asia/Tokyo"), pl.Date()])
def test_times_near_the_bounds_of_their_numbers_are_missing(
    dtype: pl.DataType, tmp_path: Path, local_store: Store, caplog
) -> None:
    is_date = dtype == pl.Date
    extremes = [-(2**31) + 1, 2**31 - 1] if is_date else [SMALLEST, LARGEST]
    numbers = pl.Series([0, *extremes, 1, None], dtype=pl.Int32 if is_date else pl.Int64)
    frame = pl.DataFrame({"t": numbers.cast(dtype), "x": [1, 2, 3, 4, 5]})
    frame.write_parquet(tmp_path / "a.parquet")

    snapshot = take_snapshot(SourceConfig(uri=str(tmp_path / "a.parquet"), time="t"), local_store)

    rows = read_snapshot(snapshot, local_store)
    assert rows["t"].is_null().to_list() == [False, True, True, False, True]
    assert rows["t"][0].year == 1970
    assert rows["x"].to_list() == [1, 2, 3, 4, 5]
    assert "2 value(s) of column 't' are outside of the years 1 to 9999" in caplog.text


def test_the_first_and_the_last_year_are_read(tmp_path: Path, local_store: Store, caplog) -> None:
    times = [dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30, 23, 59, 59)]  # noqa: DTZ001
    pl.DataFrame({"t": times, "day": [time.date() for time in times]}).write_parquet(
        tmp_path / "a.parquet"
    )

    snapshot = take_snapshot(SourceConfig(uri=str(tmp_path / "a.parquet")), local_store)

    assert read_snapshot(snapshot, local_store)["t"].to_list() == times
    assert "outside of the years" not in caplog.text
