"""What the time of a step tells: parts of the calendar, and how long the step before is gone.

Shapes: N steps, K channels.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.series.width import NANOSECONDS
from models.features.steps import Floats

PARTS: dict[str, tuple[str, int]] = {
    "minute": ("minute", 60),
    "hour": ("hour", 24),
    "weekday": ("weekday", 7),
    "day": ("day", 31),
    "week": ("week", 53),
    "month": ("month", 12),
    "quarter": ("quarter", 4),
    "day_of_year": ("ordinal_day", 366),
}
"""Parts of a time by Polars' name, and after how many they begin anew."""


def calendar_waves(times: pl.Series, parts: Sequence[str]) -> Floats:
    """Tell parts of each time as points on a circle: a sine and a cosine."""
    waves_KN = np.empty((2 * len(parts), len(times)), np.float32)
    for place, name in enumerate(parts):
        part, period = PARTS[name]
        angles = np.arange(period + 1) * (2 * math.pi / period)
        values = getattr(times.dt, part)().to_numpy()
        waves_KN[2 * place] = np.sin(angles).astype(np.float32)[values]
        waves_KN[2 * place + 1] = np.cos(angles).astype(np.float32)[values]
    return waves_KN


def log_gaps(times: pl.Series) -> NDArray[np.float64]:
    """Return the logarithm of the seconds (or numbers) since the time before.

    Whole numbers are subtracted as such, so that nanoseconds of this century keep their digits.
    """
    unit = 1.0
    if times.dtype == pl.Date:
        unit = 86_400.0
    elif isinstance(times.dtype, pl.Datetime):
        unit = NANOSECONDS[times.dtype.time_unit] / 1e9
    numbers = times.to_physical() if times.dtype.is_temporal() else times
    whole = numbers.dtype.is_integer()
    gaps = np.diff(numbers.cast(pl.Int64 if whole else pl.Float64).to_numpy())
    # Between two series time may fall; the caller knows where.
    logs = np.log(np.maximum(gaps, 0) * unit, where=gaps > 0, out=np.full(len(gaps), np.nan))
    return np.append(np.full(min(1, len(times)), np.nan), logs)
