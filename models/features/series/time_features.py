"""Features of the time of a step: parts of the calendar, and the time since the previous step.

Shapes: N steps, K channels.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.series.frequency import NANOSECONDS
from models.features.steps import Floats

_PARTS: dict[str, tuple[str, int]] = {
    "minute": ("minute", 60),
    "hour": ("hour", 24),
    "weekday": ("weekday", 7),
    "day": ("day", 31),
    "week": ("week", 53),
    "month": ("month", 12),
    "quarter": ("quarter", 4),
    "day_of_year": ("ordinal_day", 366),
}
"""By part: the name of its Polars method, and its period."""


def encode_calendar(times: pl.Series, parts: Sequence[str]) -> Floats:
    """Return the sine and the cosine of each part of the time, [2 * parts, N]."""
    waves_KN = np.empty((2 * len(parts), len(times)), np.float32)
    for index, name in enumerate(parts):
        part, period = _PARTS[name]
        angles = np.arange(period + 1) * (2 * math.pi / period)
        values = getattr(times.dt, part)().to_numpy()
        waves_KN[2 * index] = np.sin(angles).astype(np.float32)[values]
        waves_KN[2 * index + 1] = np.cos(angles).astype(np.float32)[values]
    return waves_KN


def compute_log_gaps(times: pl.Series) -> NDArray[np.float64]:
    """Return the logarithm of the seconds (or numbers) since the previous time, [N]; first NaN.

    Whole numbers are subtracted as such, so that nanoseconds of this century keep their digits.
    """
    unit = 1.0
    if times.dtype == pl.Date:
        unit = 86_400.0
    elif isinstance(times.dtype, pl.Datetime):
        unit = NANOSECONDS[times.dtype.time_unit] / 1e9
    numbers = times.to_physical() if times.dtype.is_temporal() else times
    is_integer = numbers.dtype.is_integer()
    gaps = np.diff(numbers.cast(pl.Int64 if is_integer else pl.Float64).to_numpy())
    # Between two series the time may decrease; the caller replaces these values.
    logs = np.log(np.maximum(gaps, 0) * unit, where=gaps > 0, out=np.full(len(gaps), np.nan))
    return np.append(np.full(min(1, len(times)), np.nan), logs)
