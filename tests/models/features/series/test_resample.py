"""Resampling: the same grid as pandas, for any order of the rows and any time zone."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.series import (
    ROW_COLUMN,
    SeriesInput,
    check_series,
    find_resampled_rows,
    resample_series,
)
from models.features.series.frequency import compute_bin_starts, compute_bins, parse_frequency

PANDAS = {"mean": "mean", "sum": "sum", "last": "last", "minimum": "min", "maximum": "max"}

RULES = {
    "15m": "15min",
    "1h": "h",
    "36h": "36h",
    "1d": "D",
    "2d": "2D",
    "1w": "W-MON",
    "1mo": "MS",
    "1q": "QS",
    "1y": "YS",
}

ANCHORED = {"15min", "h", "36h", "2D"}

ZONES = [None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]


def layout(every: str, aggregate: str = "mean", *, entity: str | None = "shop") -> Layout:
    return Layout(
        input=SeriesInput(
            column="sales", known_future=("price",), frequency=every, aggregate=aggregate
        ),
        window=WindowConfig(lookback=3),
        time="at",
        entity=entity,
    )


@st.composite
def tables(draw, *, days: int = 120) -> pl.DataFrame:
    """Rows of several shops at irregular times, unsorted, with duplicates and missing values."""
    size = draw(st.integers(1, 25))
    seed = draw(st.integers(0, 9999))
    generator = np.random.default_rng(seed)
    start = datetime(1969, 12, 1) if seed % 2 else datetime(2024, 2, 20)  # noqa: DTZ001 - a wall clock
    range_seconds = draw(st.sampled_from([1, 10, days])) * 86_400
    times = [start + timedelta(seconds=int(s)) for s in generator.integers(0, range_seconds, size)]
    return pl.DataFrame(
        {
            "shop": generator.choice(["a", "b", "\u00e9"], size),
            "at": pl.Series(times, dtype=pl.Datetime("us")),
            "sales": [None if v < 0.2 else round(v * 9, 2) for v in generator.random(size)],
            "price": generator.integers(0, 9, size).astype(float),
            "label": generator.choice(["x", "y"], size),
        }
    ).with_row_index(ROW_COLUMN)


def in_zone(table: pl.DataFrame, zone: str | None) -> pl.DataFrame:
    at = pl.col("at")
    local_times = at if zone is None else at.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return table.with_columns(local_times)


def grid_of_pandas(table: pl.DataFrame, rule: str, aggregate: str) -> pd.DataFrame:
    parts = []
    for shop, own in table.sort("shop", "at", ROW_COLUMN).to_pandas().groupby("shop", sort=True):
        timed = own.set_index("at")
        origin = {"origin": "epoch"} if rule in ANCHORED and timed.index.tz is None else {}
        bins = timed.resample(rule, closed="left", label="left", **origin)
        arguments = {"min_count": 1} if aggregate == "sum" else {}
        values = getattr(bins[["sales", "price"]], PANDAS[aggregate])(**arguments)
        rows = bins[[ROW_COLUMN, "label"]].last()
        parts.append(values.join(rows).reset_index().assign(shop=shop))
    return pd.concat(parts, ignore_index=True)


@settings(max_examples=50)
@given(
    tables(),
    st.sampled_from(sorted(RULES)),
    st.sampled_from(sorted(PANDAS)),
    st.sampled_from(ZONES),
)
def test_the_grid_is_that_of_pandas(
    table: pl.DataFrame, every: str, aggregate: str, zone: str | None
) -> None:
    # In a time zone, pandas counts several days or hours from the first row of each series.
    zone = None if every in {"36h", "2d"} else zone
    table = in_zone(table, zone)

    actual = resample_series(table, layout(every, aggregate), averaged=())

    expected_frame = grid_of_pandas(table, RULES[every], aggregate)
    assert actual["shop"].to_list() == expected_frame["shop"].tolist()
    assert actual["label"].to_list() == [
        None if pd.isna(label) else label for label in expected_frame["label"]
    ]
    assert actual["at"].dt.epoch("us").to_list() == [
        int(at.timestamp() * 1_000_000) for at in expected_frame["at"]
    ]
    for name in ("sales", "price", ROW_COLUMN):
        actual_values, other = (
            np.array(resampled[name], float) for resampled in (actual.to_pandas(), expected_frame)
        )
        np.testing.assert_allclose(actual_values, other, rtol=1e-12, atol=1e-12)


@given(tables(), st.sampled_from(sorted(RULES)), st.integers(0, 99))
def test_the_order_of_the_rows_changes_nothing(table: pl.DataFrame, every: str, seed: int) -> None:
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed)

    assert resample_series(shuffled, layout(every), averaged=()).equals(
        resample_series(table, layout(every), averaged=())
    )


@given(tables(), st.sampled_from(sorted(RULES)), st.sampled_from(ZONES))
def test_every_row_is_mapped_to_its_step(table: pl.DataFrame, every: str, zone: str | None) -> None:
    table = in_zone(table, zone)
    grid = resample_series(table, layout(every), averaged=())

    positions = find_resampled_rows(table, grid, layout(every))

    assert positions.null_count() == 0
    result = grid[positions.to_list()]
    assert result["shop"].to_list() == table["shop"].to_list()
    assert (result["at"] <= table["at"]).all()
    numbers = (
        table.with_columns(position=positions).group_by("position").agg(last=pl.col(ROW_COLUMN))
    )
    for index, rows in numbers.iter_rows():
        assert grid[ROW_COLUMN][index] in rows


@given(tables(), st.sampled_from(sorted(RULES)), st.integers(1, 24))
def test_each_series_is_resampled_alone(table: pl.DataFrame, every: str, positions: int) -> None:
    ordered = table.sort("shop", "at", ROW_COLUMN)
    own = ordered.filter(pl.col("shop") == ordered["shop"][min(positions, len(table) - 1)])

    whole = resample_series(table, layout(every), averaged=())

    assert resample_series(own, layout(every), averaged=()).equals(
        whole.filter(pl.col("shop") == own["shop"][0])
    )


@given(tables(), st.sampled_from(sorted(RULES)), st.integers(1, 24), st.sampled_from(ZONES))
def test_resampling_in_chunks_equals_resampling_the_whole_table(
    table: pl.DataFrame, every: str, size: int, zone: str | None
) -> None:
    ordered = in_zone(table, zone).sort("shop", "at", ROW_COLUMN)
    window_layout, resampled, parts = layout(every), ordered[:0], []

    for first in range(0, len(ordered), size):
        resampled = pl.concat([resampled, ordered[first : first + size]])
        grid = resample_series(resampled, window_layout, averaged=())
        parts.append(grid[:-1])
        # The last step is held back, since the next chunk may add rows to it.
        last = (pl.col("shop") == grid["shop"][-1]) & (pl.col("at") >= grid["at"][-1])
        resampled = resampled.filter(last)

    whole = pl.concat([*parts, resample_series(resampled, window_layout, averaged=())])
    assert whole.equals(resample_series(ordered, window_layout, averaged=()))


@given(st.integers(-(10**6), 10**6), st.integers(1, 40), st.sampled_from(["d", "w", "mo", "y"]))
def test_a_date_is_between_the_start_of_its_step_and_of_the_next(
    day: int, count: int, unit: str
) -> None:
    width = parse_frequency(f"{count}{unit}")
    dates = pl.Series([day]).cast(pl.Int32).cast(pl.Date)

    index = compute_bins(dates, width)

    first, after = (compute_bin_starts(index + more, width, pl.Date()) for more in (0, 1))
    assert (first <= dates).all()
    assert (dates < after).all()
    assert compute_bins(first, width).to_list() == index.to_list()


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ZONES)
def test_a_step_starts_at_or_before_its_times_in_any_time_type(unit: str, zone: str | None) -> None:
    hours = [datetime(2024, 3, 30, tzinfo=UTC) + timedelta(minutes=37 * m) for m in range(120)]
    times = pl.Series(hours).dt.cast_time_unit(unit).dt.convert_time_zone(zone or "UTC")
    times = times if zone else times.dt.replace_time_zone(None)
    for every in ("15m", "1h", "6h", "1d", "1w", "1mo"):
        width = parse_frequency(every)

        starts = compute_bin_starts(compute_bins(times, width), width, times.dtype)

        assert starts.dtype == times.dtype
        assert (starts <= times).all()
        assert starts.is_sorted()
        if every == "1d":
            assert (starts.dt.date() == times.dt.date()).all()
            assert (starts.dt.hour() == 0).all()


def test_a_day_without_midnight_starts_at_one() -> None:
    moment = pl.Series([datetime(2018, 11, 4, 12, tzinfo=UTC)])
    noon = moment.dt.convert_time_zone("America/Sao_Paulo")
    width = parse_frequency("1d")

    start = compute_bin_starts(compute_bins(noon, width), width, noon.dtype)

    assert start.dt.strftime("%F %H:%M").to_list() == ["2018-11-04 01:00"]
    assert compute_bins(start, width).to_list() == compute_bins(noon, width).to_list()


@pytest.mark.parametrize(
    ("dtype", "every"), [(pl.Int32, "5"), (pl.Float64, "2.5"), (pl.UInt8, "3")]
)
def test_times_that_are_numbers_have_steps_of_numbers(dtype: pl.DataType, every: str) -> None:
    times = pl.Series("at", [0, 4, 5, 17], dtype=dtype)
    table = pl.DataFrame([times]).with_columns(sales=1.0, price=1.0).with_row_index(ROW_COLUMN)

    grid = resample_series(table, layout(every, "sum", entity=None), averaged=())

    width = float(every)
    steps = int(17 // width) + 1
    assert grid["at"].to_list() == [width * index for index in range(steps)]
    assert grid["at"].dtype == dtype
    expected = [sum(width * p <= t < width * (p + 1) for t in times) or None for p in range(steps)]
    assert grid["sales"].to_list() == expected


def test_numeric_targets_are_averaged_and_the_last_category_is_taken() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 3), date(2024, 1, 9)]
    table = pl.DataFrame({"at": days, "sales": [1, 2, 3], "price": [1, 2, 3], "y": [10, 20, 30]})
    table = table.with_row_index(ROW_COLUMN)

    as_number = resample_series(table, layout("1w", entity=None), averaged=("y",))
    as_category = resample_series(table, layout("1w", entity=None), averaged=())

    assert as_number["y"].to_list() == [15.0, 30.0]
    assert as_category["y"].to_list() == [20, 30]
    assert as_number[ROW_COLUMN].to_list() == [1, 2]


def test_a_table_without_rows_has_no_steps() -> None:
    table = pl.DataFrame(
        schema={
            ROW_COLUMN: pl.UInt32,
            "shop": pl.String,
            "at": pl.Date,
            "sales": pl.Int8,
            "price": pl.Int8,
        }
    )

    assert resample_series(table, layout("1d"), averaged=()).is_empty()


def test_a_nearly_empty_grid_is_rejected() -> None:
    times = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]
    table = pl.DataFrame({"at": times, "sales": [1, 2], "price": [1, 2]}).with_row_index(ROW_COLUMN)

    with pytest.raises(UnlearnableError, match=r"longest gap: from 1970-.* to 2024-"):
        resample_series(table, layout("1s", entity=None), averaged=())


@pytest.mark.parametrize(
    ("every", "dtype", "message"),
    [
        ("1h", pl.Date, "dates have no hours"),
        ("5", pl.Datetime(), "expected a step such as 1h"),
        ("1h", pl.Int64, "expected a number above 0"),
        ("0.5", pl.Int64, "expected a whole number"),
        ("5us", pl.Datetime("ms"), "the times have whole ms only"),
    ],
)
def test_a_frequency_that_does_not_fit_the_time_type_is_rejected(
    every: str, dtype: pl.DataType, message: str
) -> None:
    schema = pl.Schema({"shop": pl.String, "at": dtype, "sales": pl.Float64, "price": pl.Float64})

    with pytest.raises(UnlearnableError, match=f"frequency: '{every}' cannot divide.*{message}"):
        check_series(schema, layout(every))


@pytest.mark.parametrize(
    "every", ["", "h", "1 h", "-1h", "0d", "1d12h", "nan", "-3", "9999999999y"]
)
def test_an_invalid_frequency_is_rejected(every: str) -> None:
    with pytest.raises(ValueError, match=r"^frequency: "):
        layout(every)
