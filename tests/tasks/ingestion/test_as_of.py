"""A snapshot as of a time has no later rows."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tasks.errors import SourceError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import DAY, START, make_daily_rows, make_noon, read_snapshot


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("us"), pl.Datetime("ms", "UTC")])
def test_a_later_snapshot_as_of_the_same_time_is_equal(
    dtype: pl.DataType, tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "*.parquet"), time="at")
    typed = pl.col("at").cast(dtype)
    make_daily_rows(1, 3).with_columns(typed).write_parquet(tmp_path / "a.parquet")
    make_daily_rows(4, 6).with_columns(typed).write_parquet(tmp_path / "b.parquet")
    early = take_snapshot(source, local_store, as_of=make_noon(5))
    make_daily_rows(7, 9).with_columns(typed).write_parquet(tmp_path / "c.parquet")

    late = take_snapshot(source, local_store, as_of=make_noon(5))

    assert read_snapshot(early, local_store).equals(make_daily_rows(1, 5).with_columns(typed))
    assert (late.key, late.recomputed) == (early.key, False)


def test_a_snapshot_as_of_a_time_after_all_rows_is_the_whole_source(
    tmp_path: Path, local_store: Store
) -> None:
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")
    make_daily_rows(1, 3).write_parquet(tmp_path / "a.parquet")

    monday, tuesday = (take_snapshot(source, local_store, as_of=make_noon(day)) for day in (8, 9))

    assert monday.key == tuesday.key == take_snapshot(source, local_store).key


def test_a_time_before_all_rows_is_refused(tmp_path: Path, local_store: Store) -> None:
    make_daily_rows(5, 6).write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    with pytest.raises(SourceError, match=r"no rows up to 2024-01-02 12:00"):
        take_snapshot(source, local_store, as_of=make_noon(2))


def test_a_time_column_of_numbers_is_not_filtered(tmp_path: Path, local_store: Store) -> None:
    frame = pl.DataFrame({"step": [1, 2, 3]})
    frame.write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="step")

    assert read_snapshot(
        take_snapshot(source, local_store, as_of=make_noon(1)), local_store
    ).equals(frame)


def test_a_database_table_is_read_as_of_a_time(local_store: Store, postgres) -> None:
    postgres.sql(
        "DROP TABLE IF EXISTS visits",
        "CREATE TABLE visits (at timestamptz, n int)",
        "INSERT INTO visits SELECT '2024-01-01 00:00+00'::timestamptz + d * interval '1 day', d"
        " FROM generate_series(0, 9) d",
    )
    source = SourceConfig(uri=postgres.uri, query="visits", time="at")

    early = take_snapshot(source, local_store, as_of=make_noon(4))
    latest = take_snapshot(source, local_store, as_of=make_noon(8))
    middle = take_snapshot(source, local_store, as_of=make_noon(6))

    assert read_snapshot(early, local_store)["n"].to_list() == [0, 1, 2, 3]
    assert read_snapshot(latest, local_store)["n"].to_list() == list(range(8))
    assert read_snapshot(middle, local_store)["n"].to_list() == list(range(6))
    assert middle.facts.parts == latest.facts.parts


def test_a_row_in_the_future_does_not_change_earlier_snapshots(
    tmp_path: Path, local_store: Store
) -> None:
    pl.concat([make_daily_rows(1, 3), make_daily_rows(30, 30)]).write_parquet(
        tmp_path / "a.parquet"
    )
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    keys = {take_snapshot(source, local_store, as_of=make_noon(day)).key for day in (5, 6, 20)}

    assert len(keys) == 1


def test_the_same_time_in_another_zone_gives_the_same_snapshot(
    tmp_path: Path, local_store: Store
) -> None:
    hours = pl.datetime_range(START, START + 2 * DAY, "1h", eager=True).alias("at")
    pl.DataFrame([hours]).write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")
    tokyo = make_noon(1).astimezone(dt.timezone(dt.timedelta(hours=9)))

    utc_snapshot, tokyo_snapshot = (
        take_snapshot(source, local_store, as_of=moment) for moment in (make_noon(1), tokyo)
    )

    assert utc_snapshot.key == tokyo_snapshot.key
    assert utc_snapshot.facts.rows == 13


def test_times_in_any_zone_are_filtered(tmp_path: Path, local_store: Store) -> None:
    zoned = make_daily_rows(1, 9).with_columns(pl.col("at").dt.replace_time_zone("Europe/Berlin"))
    zoned.write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    snapshot = take_snapshot(source, local_store, as_of=make_noon(4))

    assert read_snapshot(snapshot, local_store).equals(zoned[:4])


def test_dates_in_one_file_and_times_in_another_are_filtered(
    tmp_path: Path, local_store: Store
) -> None:
    (tmp_path / "a.csv").write_text("at,x\n2024-01-01,1\n2024-01-09,2\n")
    (tmp_path / "b.csv").write_text("at,x\n2024-01-02 10:00:00,3\n2024-01-08 10:00:00,4\n")
    source = SourceConfig(uri=str(tmp_path / "*.csv"), time="at")

    snapshot = take_snapshot(source, local_store, as_of=make_noon(5))

    assert read_snapshot(snapshot, local_store)["x"].to_list() == [1, 3]


def test_a_nested_field_with_the_name_of_the_time_column_is_ignored(
    tmp_path: Path, local_store: Store
) -> None:
    frame = make_daily_rows(1, 3).with_columns(m=pl.struct(at=pl.lit(5)))
    frame.select("m", "at").write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    assert take_snapshot(source, local_store, as_of=make_noon(2)).facts.rows == 2


def test_the_time_column_is_filtered_even_with_another_watermark(
    tmp_path: Path, local_store: Store
) -> None:
    make_daily_rows(1, 5).with_row_index("id").write_parquet(tmp_path / "a.parquet")
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at", watermark="id")

    assert take_snapshot(source, local_store, as_of=make_noon(2)).facts.rows == 2


def test_times_written_as_text_are_not_filtered_but_reported(
    tmp_path: Path, local_store: Store, caplog
) -> None:
    make_daily_rows(1, 3).with_columns(pl.col("at").cast(pl.String)).write_parquet(
        tmp_path / "a.parquet"
    )
    source = SourceConfig(uri=str(tmp_path / "a.parquet"), time="at")

    take_snapshot(source, local_store, as_of=make_noon(1))

    assert "'at' holds text, not dates" in caplog.text


@pytest.mark.parametrize("order", [(3, 8, None), (8, 3, None), (None, 3, 8)])
def test_a_lakehouse_table_is_read_as_of_times_in_any_order(
    order: tuple[int | None, ...], tmp_path: Path, local_store: Store
) -> None:
    make_daily_rows(1, 10).write_delta(tmp_path / "lake")
    source = SourceConfig(uri=str(tmp_path / "lake"), time="at")

    for day in order:
        snapshot = take_snapshot(source, local_store, as_of=make_noon(day) if day else None)

        assert read_snapshot(snapshot, local_store)["x"].to_list() == [
            float(x) for x in range(1, (day or 10) + 1)
        ]
