"""The step of a regular grid, and the number of the step that contains a time.

Steps are numbered by integers, so that it is exact whether two times are in one step, for every
type and time zone. Days, weeks and months follow the calendar of the time zone, with daylight
saving time: a day may have 23 hours. Shorter steps have a constant length, counted from midnight
of the standard time of the zone.
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

_UNITS: dict[Unit, dict[str, int]] = {
    "nanosecond": NANOSECONDS,
    "day": {"d": 1, "w": 7},
    "month": {"mo": 1, "q": 3, "y": 12},
}

_FIRST_MONDAY = 4
"""Days from 1970-01-01, a Thursday, to the first Monday."""

_EPOCH_YEAR = 1970

_MAX_SIZES: dict[Unit, float] = {
    "number": 2.0**62,
    "nanosecond": 2.0**61,
    "day": 36_500,
    "week": 36_500,
    "month": 1_200,
}
"""Larger steps exceed the range of some types of time."""


class GridStep(NamedTuple):
    """A step of a grid: so many units."""

    unit: Unit
    """For `week`, the size is in days, counted from a Monday."""
    size: float


def parse_frequency(frequency: str) -> GridStep:
    """Return the step of a text such as `1h`, `15m` or `1mo`, or of a number.

    Raises:
        ValueError: the text is no step, or mixes units without a fixed ratio.
    """
    parts = re.findall(r"(\d+)(ns|us|ms|mo|s|m|h|d|w|q|y)", frequency)
    units = {unit for _, unit in parts}
    if parts and "".join(count + unit for count, unit in parts) == frequency:
        for unit, table in _UNITS.items():
            if units <= table.keys():
                total = sum(int(count) * table[name] for count, name in parts)
                return _check_step_size(
                    frequency, GridStep("week" if units == {"w"} else unit, total)
                )
        raise ValueError(
            f"frequency: '{frequency}' mixes hours, days or months, which have no fixed ratio; "
            "give one of them, such as 36h"
        )
    try:
        number = float(frequency)
    except ValueError:
        raise ValueError(
            f"frequency: '{frequency}' is no step; give one such as 15m, 1h, 1d, 1w, 1mo, "
            "or a number where time is one"
        ) from None
    return _check_step_size(frequency, GridStep("number", number))


def check_step_fits(step: GridStep, dtype: pl.DataType) -> None:
    """Check that the step can divide times of this type.

    Raises:
        ValueError: says what is expected.
    """
    if dtype.is_numeric() != (step.unit == "number"):
        expected = "a number above 0" if dtype.is_numeric() else "a step such as 1h, 1d or 1mo"
        raise ValueError(f"expected {expected}")
    if dtype.is_integer() and step.size % 1:
        raise ValueError("expected a whole number, as the times are")
    if dtype == pl.Date and step.unit == "nanosecond":
        raise ValueError("dates have no hours; expected days or more, such as 1d, 1w or 1mo")
    if isinstance(dtype, pl.Datetime) and step.unit == "nanosecond":
        tick = NANOSECONDS[dtype.time_unit]
        if step.size % tick:
            raise ValueError(
                f"the times have whole {dtype.time_unit} only; expected a multiple of that"
            )


def compute_bins(times: pl.Series, step: GridStep) -> pl.Series:
    """Return the number of the step that contains each time."""
    if step.unit == "number":
        return _compute_number_bins(times, step.size)
    count = int(step.size)
    if step.unit == "nanosecond":
        assert isinstance(times.dtype, pl.Datetime)  # noqa: S101 - dates have been rejected
        ticks = count // NANOSECONDS[times.dtype.time_unit]
        return (times.to_physical() + _get_utc_offset_ticks(times.dtype)) // ticks
    dates = times.dt.date()
    if step.unit == "month":
        months = dates.dt.year().cast(pl.Int64) * 12 + dates.dt.month() - (_EPOCH_YEAR * 12 + 1)
        return months // count
    days = dates.to_physical().cast(pl.Int64)
    return (days - _FIRST_MONDAY if step.unit == "week" else days) // count


def compute_bin_starts(bins: pl.Series, step: GridStep, dtype: pl.DataType) -> pl.Series:
    """Return the time at which each step begins, in the type of the times."""
    if step.unit == "number":
        return (bins * (int(step.size) if dtype.is_integer() else step.size)).cast(dtype)
    count = int(step.size)
    if step.unit == "nanosecond":
        assert isinstance(dtype, pl.Datetime)  # noqa: S101 - dates have been rejected
        ticks = count // NANOSECONDS[dtype.time_unit]
        return (bins * ticks - _get_utc_offset_ticks(dtype)).cast(dtype)
    if step.unit == "month":
        months = bins * count
        parts = pl.DataFrame({"year": months // 12 + _EPOCH_YEAR, "month": months % 12 + 1})
        return _find_day_starts(parts.select(pl.date("year", "month", 1)).to_series(), dtype)
    days = bins * count + (_FIRST_MONDAY if step.unit == "week" else 0)
    return _find_day_starts(days.cast(pl.Int32).cast(pl.Date), dtype)


def _check_step_size(frequency: str, step: GridStep) -> GridStep:
    """Return the step if it is above 0 and not too large.

    Raises:
        ValueError: it is not.
    """
    if not 0 < step.size <= _MAX_SIZES[step.unit]:
        raise ValueError(
            f"frequency: '{frequency}' is not above 0, or too large; give one such as 1h"
        )
    return step


def _compute_number_bins(times: pl.Series, step_size: float) -> pl.Series:
    """Return the step numbers of times that are numbers."""
    if times.dtype.is_integer():
        return times.cast(pl.Int64) // int(step_size)
    return (times.cast(pl.Float64) / step_size).floor().cast(pl.Int64)


def _find_day_starts(dates: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return the first moment of each date in its time zone; some days begin at 01:00."""
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


def _get_utc_offset_ticks(dtype: pl.Datetime) -> int:
    """Return the offset of the zone's standard time from UTC, in ticks of the type."""
    if dtype.time_zone is None:
        return 0
    moment = pl.Series(["2000-01-01"]).str.to_datetime(time_unit=dtype.time_unit, time_zone="UTC")
    offset = moment.dt.convert_time_zone(dtype.time_zone).dt.base_utc_offset()
    return int(offset.dt.total_seconds()[0]) * (1_000_000_000 // NANOSECONDS[dtype.time_unit])
