"""Logarithms of positive numbers, continued so that every number has one and can be recovered.

Within the range of the training values the unit of a value is its logarithm. Below the lowest and
far above the highest, where a logarithm would leave numbers without a value or predictions without
bound, the function continues on its tangent.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_HEADROOM = 10.0
"""How many times the highest training value the logarithm reaches."""


class LogRange(NamedTuple):
    """The lowest and the highest training value, both above 0."""

    low: float
    high: float


def to_log_units(values: Doubles, limits: LogRange) -> Doubles:
    """Return the unit of each value; NaN stays."""
    low, high = limits.low, limits.high * _HEADROOM
    units = np.log(np.clip(values, low, high))
    units += np.where(values < low, values / low - 1, 0.0)
    units += np.where(values > high, values / high - 1, 0.0)
    return np.asarray(units)


def from_log_units(units: Doubles, limits: LogRange) -> Doubles:
    """Return the value of each unit: the inverse of `to_log_units`."""
    low, high = math.log(limits.low), math.log(limits.high * _HEADROOM)
    inside = np.exp(np.clip(units, low, high))
    below, above = np.minimum(units - low, 0.0), np.maximum(units - high, 0.0)
    return np.asarray(inside + limits.low * below + limits.high * _HEADROOM * above)
