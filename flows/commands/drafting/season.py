"""After how many steps a series repeats: the autocorrelation at the calendar's candidates.

A season counts where the values, less their moving average over one season, correlate with those
one season before. A trend or a random walk, which correlate at every lag, then do not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

_MIN_CORRELATION = 0.3
"""Autocorrelation from which a season of the calendar counts."""

_MIN_CORRELATION_ELSEWHERE, _MIN_CYCLES_ELSEWHERE = 0.6, 4
"""The same for steps without a calendar, where many seasons are tried; and cycles of them."""

_STANDARD_ERRORS = 2.5
"""Standard errors of a correlation, about 1 / sqrt(values), that it must exceed."""

_LONGER_GAIN = 0.05
"""By how much a longer season must correlate better than a shorter one."""

_MIN_CYCLES = 2.5
"""Seasons that a series must have."""

_MAX_SEASON = 400
"""Longest season that is searched for; those of the calendar may be longer."""

_MAX_SERIES = 30
"""Series of a table that are looked at, the longest ones."""

_DAY = 86_400.0

Floats = NDArray[np.float64]


class Season(NamedTuple):
    """A season, and why it was chosen."""

    steps: int
    reason: str
    name: str = ""
    """Of a season of the calendar: `hour`, `day`, `week` or `year`."""


def find_season(series: Sequence[Floats], candidates: dict[int, str]) -> Season | None:
    """Find the season of some series; None where none is significant.

    Args:
        series: the values of each, oldest first; missing ones are NaN.
        candidates: seasons of the calendar in steps, with their names; where there are none,
            every lag is tried.
    """
    filled = [fill_missing(values) for values in sorted(series, key=len)[-_MAX_SERIES:]]
    found: Season | None = None
    noise = _STANDARD_ERRORS / max(1, sum(map(len, filled))) ** 0.5
    best = max(_MIN_CORRELATION, noise) - _LONGER_GAIN
    for steps, name in sorted(candidates.items()):
        correlation = compute_seasonal_correlation(filled, steps)
        if correlation > best + _LONGER_GAIN:
            best = correlation
            found = Season(steps, f"a {name}: autocorrelation {correlation:.2f}", name)
    return found if candidates else _search_season(filled)


def compute_seasonal_correlation(series: Sequence[Floats], steps: int) -> float:
    """Return the mean autocorrelation at a lag of series without their moving average over it.

    -1 where no series has enough seasons.
    """
    long_enough = [values for values in series if len(values) >= _MIN_CYCLES * steps + 2]
    if not long_enough or steps < 2:
        return -1.0
    return float(np.mean([_correlate(_remove_trend(each, steps), steps) for each in long_enough]))


def list_calendar_seasons(times: pl.Series) -> dict[int, str]:
    """List the seasons that the calendar suggests for the times of one series, in order."""
    gaps = times.cast(pl.Datetime("us")).diff().drop_nulls().dt.total_seconds()
    median = gaps.median()
    seconds = float(median) if isinstance(median, int | float) else 0.0
    if seconds <= 0:
        return {}
    if seconds < _DAY:
        day = round(_DAY / seconds)
        hour = {round(3600 / seconds): "hour"} if seconds <= 600 else {}
        return {n: name for n, name in {**hour, day: "day", 7 * day: "week"}.items() if n > 1}
    days = seconds / _DAY
    if days < 2:
        has_weekends = bool((times.dt.weekday() > 5).any())
        return {7: "week", 365: "year"} if has_weekends else {5: "week", 260: "year"}
    for low, high, steps in ((6, 8, 52), (28, 31, 12), (89, 93, 4)):
        if low <= days <= high:
            return {steps: "year"}
    return {}


def _search_season(series: Sequence[Floats]) -> Season | None:
    """Find the shortest lag at which the autocorrelation has a clear peak; None without one."""
    longest = max(series, key=len, default=np.empty(0))
    top = min(_MAX_SEASON, len(longest) // _MIN_CYCLES_ELSEWHERE)
    if top < 3:
        return None
    rough = _remove_trend(longest, len(longest) // 3)
    lags = np.array([_correlate(rough, lag) for lag in range(top + 1)])
    peaks = [
        lag for lag in range(2, top)
        if lags[lag] > _MIN_CORRELATION_ELSEWHERE and lags[lag - 1] < lags[lag] > lags[lag + 1]
    ]  # fmt: skip
    for lag in peaks:
        correlation = compute_seasonal_correlation(series, lag)
        if correlation > _MIN_CORRELATION_ELSEWHERE:
            return Season(lag, f"autocorrelation {correlation:.2f}")
    return None


def fill_missing(values: Floats) -> Floats:
    """Fill missing values on the line between their neighbours."""
    known = np.isfinite(values)
    if known.all() or not known.any():
        return np.nan_to_num(values)
    positions = np.arange(len(values))
    return np.asarray(np.interp(positions, positions[known], values[known]))


def _remove_trend(values: Floats, steps: int) -> Floats:
    """Subtract the moving average over a season; its ends, which have none, are left out."""
    width = max(2, steps)
    kernel = np.ones(width) / width
    if width % 2 == 0:
        kernel = np.convolve(kernel, [0.5, 0.5])
    half = len(kernel) // 2
    return np.asarray(values[half : len(values) - half] - np.convolve(values, kernel, "valid"))


def _correlate(values: Floats, lag: int) -> float:
    """Return the correlation of values with those `lag` steps before; 0 where they are constant."""
    before, after = values[: len(values) - lag], values[lag:]
    if len(before) < 3 or before.std() < 1e-12 or after.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(before, after)[0, 1])
