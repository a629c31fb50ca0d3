"""Times that no calendar here can show, such as those near the smallest number of 64 bits.

Polars ends a program that reads, prints or converts them (a panic in Rust, which Python's `except
Exception` does not catch), so they become missing values when they are ingested.
"""

from datetime import UTC, datetime

import polars as pl

from tasks.task_options import logger

_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
"""Bounds of Python's datetime, a day inside, so that they are bounds in every time zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_UNITS_PER_SECOND = {"ms": 10**3, "us": 10**6}
"""Nanoseconds of 64 bits reach from 1677 to 2262, which is within the bounds."""

_DAY = 86_400


def clear_extreme_times(rows: pl.LazyFrame, path: str) -> pl.LazyFrame | None:
    """Replace dates and times outside of the years 1 to 9999 by null, with a warning.

    Args:
        rows: of a file.
        path: of the file, for the warning.

    Returns:
        The rows, or None where there is nothing to replace.
    """
    checks = {
        name: pl.col(name).to_physical().is_between(*bounds)
        for name, dtype in rows.collect_schema().items()
        if (bounds := _find_bounds(dtype))
    }
    if not checks:
        return None
    counts = rows.select((~check).sum().alias(name) for name, check in checks.items())
    found = counts.collect(engine="streaming").row(0, named=True)
    extreme = {name: count for name, count in found.items() if count}
    for name, count in extreme.items():
        logger().warning(
            "%s: %s value(s) of column '%s' are outside of the years 1 to 9999: read as missing",
            path,
            count,
            name,
        )
    if not extreme:
        return None
    return rows.with_columns(
        pl.when(checks[name]).then(pl.col(name)).alias(name) for name in extreme
    )


def _find_bounds(dtype: pl.DataType) -> tuple[int, int] | None:
    """Return the least and the greatest number of a column of dates or times; None for others."""
    first, last = (int((time - _EPOCH).total_seconds()) for time in (_FIRST, _LAST))
    if dtype == pl.Date:
        return first // _DAY, last // _DAY
    if isinstance(dtype, pl.Datetime) and dtype.time_unit in _UNITS_PER_SECOND:
        factor = _UNITS_PER_SECOND[dtype.time_unit]
        return first * factor, last * factor
    return None
