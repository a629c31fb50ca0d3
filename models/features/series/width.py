"""The width of a regular grid, and in which step of it a time lies.

Steps are told by whole numbers, so that two times are in one step or not, whatever their type and
time zone. Days, weeks and months follow the calendar of the time zone, summer time included: a day
may have 23 hours. Anything shorter is as long as its name says the year round, counted from
midnight of the zone's winter time.
"""

import re
from typing import Literal, NamedTuple

import polars as pl

Unit = Literal["number", "nanosecond", "day", "week", "month"]

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}

UNITS: dict[Unit, dict[str, int]] = {
    "nanosecond": NANOSECONDS,
    "day": {"d": 1, "w": 7},
    "month": {"mo": 1, "q": 3, "y": 12},
}

MONDAY = 4
"""Days from 1970-01-01, a Thursday, to the first Monday."""

ZERO_YEAR = 1970

WIDEST: dict[Unit, float] = {
    "number": 2.0**62,
    "nanosecond": 2.0**61,
    "day": 36_500,
    "week": 36_500,
    "month": 1_200,
}
"""What is wider reaches beyond the years that some types of time can tell."""


class GridStep(NamedTuple):
    """A width in one unit."""

    unit: Unit
    """A `week` is so many days, counted from a Monday."""
    size: float


def parse_frequency(every: str) -> GridStep:
    """Read a width.

    Raises:
        ValueError: it is none.
    """
    parts = re.findall(r"(\d+)(ns|us|ms|mo|s|m|h|d|w|q|y)", every)
    units = {unit for _, unit in parts}
    if parts and "".join(count + unit for count, unit in parts) == every:
        for unit, table in UNITS.items():
            if units <= table.keys():
                total = sum(int(count) * table[name] for count, name in parts)
                return bounded(every, GridStep("week" if units == {"w"} else unit, total))
        raise ValueError(
            f"frequency: '{every}' mixes hours, days or months, which have no fixed ratio; "
            "give one of them, such as 36h"
        )
    try:
        number = float(every)
    except ValueError:
        raise ValueError(
            f"frequency: '{every}' is no step; give one such as 15m, 1h, 1d, 1w, 1mo, "
            "or a number where time is one"
        ) from None
    return bounded(every, GridStep("number", number))


def bounded(every: str, width: GridStep) -> GridStep:
    """Refuse a width of nothing, and one that no whole number counts."""
    if not 0 < width.size <= WIDEST[width.unit]:
        raise ValueError(f"frequency: '{every}' is not above 0, or too large; give one such as 1h")
    return width


def refuse_unfit(width: GridStep, dtype: pl.DataType) -> None:
    """Refuse a width that cannot divide times of this type.

    Raises:
        ValueError: says what is expected.
    """
    if dtype.is_numeric() != (width.unit == "number"):
        expected = "a number above 0" if dtype.is_numeric() else "a width such as 1h, 1d or 1mo"
        raise ValueError(f"expected {expected}")
    if dtype.is_integer() and width.size % 1:
        raise ValueError("expected a whole number, as the times are")
    if dtype == pl.Date and width.unit == "nanosecond":
        raise ValueError("dates have no hours; expected days or more, such as 1d, 1w or 1mo")
    if isinstance(dtype, pl.Datetime) and width.unit == "nanosecond":
        tick = NANOSECONDS[dtype.time_unit]
        if width.size % tick:
            raise ValueError(f"the times have whole {dtype.time_unit} only; expected those")


def bin_of(times: pl.Series, width: GridStep) -> pl.Series:
    """Tell the number of the step that each time lies in."""
    if width.unit == "number":
        return number_bins(times, width.size)
    count = int(width.size)
    if width.unit == "nanosecond":
        assert isinstance(times.dtype, pl.Datetime)  # noqa: S101 - dates are refused
        ticks = count // NANOSECONDS[times.dtype.time_unit]
        return (times.to_physical() + anchor(times.dtype)) // ticks
    dates = times.dt.date()
    if width.unit == "month":
        months = dates.dt.year().cast(pl.Int64) * 12 + dates.dt.month() - (ZERO_YEAR * 12 + 1)
        return months // count
    days = dates.to_physical().cast(pl.Int64)
    return (days - MONDAY if width.unit == "week" else days) // count


def number_bins(times: pl.Series, width: float) -> pl.Series:
    """Tell the numbers of the steps of times that are numbers."""
    if times.dtype.is_integer():
        return times.cast(pl.Int64) // int(width)
    return (times.cast(pl.Float64) / width).floor().cast(pl.Int64)


def start_of(bins: pl.Series, width: GridStep, dtype: pl.DataType) -> pl.Series:
    """Return the time at which each step of the grid begins, in the type of the times."""
    if width.unit == "number":
        return (bins * (int(width.size) if dtype.is_integer() else width.size)).cast(dtype)
    count = int(width.size)
    if width.unit == "nanosecond":
        assert isinstance(dtype, pl.Datetime)  # noqa: S101 - dates are refused
        ticks = count // NANOSECONDS[dtype.time_unit]
        return (bins * ticks - anchor(dtype)).cast(dtype)
    if width.unit == "month":
        months = bins * count
        parts = pl.DataFrame({"year": months // 12 + ZERO_YEAR, "month": months % 12 + 1})
        return midnight(parts.select(pl.date("year", "month", 1)).to_series(), dtype)
    days = bins * count + (MONDAY if width.unit == "week" else 0)
    return midnight(days.cast(pl.Int32).cast(pl.Date), dtype)


def midnight(dates: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return the first moment of each date in its time zone: some days begin at one o'clock."""
    if not isinstance(dtype, pl.Datetime):
        return dates.cast(dtype)
    wall = dates.cast(pl.Datetime(dtype.time_unit))
    if dtype.time_zone is None:
        return wall

    def local(times: pl.Series) -> pl.Series:
        return times.dt.replace_time_zone(
            dtype.time_zone, ambiguous="earliest", non_existent="null"
        )

    starts = local(wall)
    return starts.fill_null(local(wall.dt.offset_by("1h"))) if starts.has_nulls() else starts


def anchor(dtype: pl.Datetime) -> int:
    """Return how far the zone's winter time is ahead of UTC, in ticks of the type."""
    if dtype.time_zone is None:
        return 0
    moment = pl.Series(["2000-01-01"]).str.to_datetime(time_unit=dtype.time_unit, time_zone="UTC")
    offset = moment.dt.convert_time_zone(dtype.time_zone).dt.base_utc_offset()
    return int(offset.dt.total_seconds()[0]) * (1_000_000_000 // NANOSECONDS[dtype.time_unit])
