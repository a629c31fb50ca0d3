"""From raw steps to what the network reads: filled, centred, scaled, gaps flagged.

Channels come in this order: observed, known in advance, the time since the step before, the
calendar, then a flag for each channel with gaps.
Shapes: C channels, N steps, S series.
"""

import numpy as np

from models.features.config import Layout
from models.features.series.channels import Doubles, RawSteps
from models.features.series.config import get_lookback, get_series_input
from models.features.series.scaler import Scaler
from models.features.steps import Floats, Integers

FARTHEST = 1e6
"""Spreads from the centre that an absurd value is taken to lie off, so that it stays a number."""


def scaled_steps(raw: RawSteps, layout: Layout, scaler: Scaler) -> Floats:
    """Scale each channel on its own, so that no more than one is held twice."""
    rows_S = scaler.rows_of(raw.entities_S)
    kind, reach = get_series_input(layout).scaler, get_lookback(layout)
    channels, waves = len(raw.values_CN), len(raw.calendar_KN)
    steps_NC = np.empty((len(raw.series_N), channels + waves + len(scaler.gaps)), np.float32)
    for channel, values_N in enumerate(raw.values_CN):
        tables = (scaler.centre_EC, scaler.spread_EC, scaler.typical_EC)
        own = (of_steps(table[:, channel], rows_S, raw.series_N) for table in tables)
        centre, spread, typical = own
        filled_N = fill_gaps(values_N, raw.series_N, reach, typical)
        steps_NC[:, channel] = scaled(filled_N, centre, spread, kind)
    steps_NC[:, channels : channels + waves] = raw.calendar_KN.T
    for place, channel in enumerate(scaler.gaps):
        steps_NC[:, channels + waves + place] = np.isnan(raw.values_CN[channel])
    return steps_NC


def of_steps(table_E: Doubles, rows_S: Integers | None, series_N: Integers) -> Doubles:
    """Return each step its entity's value; one for all of them where they share it."""
    return table_E[:1] if rows_S is None else table_E[rows_S][series_N]


def scaled(values_N: Doubles, centre: Doubles, spread: Doubles, kind: str) -> Doubles:
    """Centre, scale, bend, and bring absurd values near."""
    if kind == "none":
        return values_N
    with np.errstate(over="ignore"):
        scaled_N = (values_N - centre) / spread
    if kind == "arcsinh":
        np.arcsinh(scaled_N, out=scaled_N)
    return np.clip(scaled_N, -FARTHEST, FARTHEST, out=scaled_N)


def fill_gaps(
    values_N: Doubles, series_N: Integers, reach: int | None, typical: Doubles
) -> Doubles:
    """Put the last value of the series in reach where one is missing, else the typical one.

    Args:
        values_N: of one channel.
        series_N: which series each step belongs to; they rise.
        reach: steps to look back; 0 for none, None for as far as the series goes.
        typical: of each step, or of all.
    """
    gaps_N = np.flatnonzero(np.isnan(values_N))
    if not len(gaps_N):
        return values_N
    filled_N = values_N.copy()
    filled_N[gaps_N] = typical[gaps_N] if len(typical) > 1 else typical
    if reach == 0:
        return filled_N
    known_N = np.flatnonzero(~np.isnan(values_N))
    if not len(known_N):
        return filled_N
    last = known_N[np.maximum(np.searchsorted(known_N, gaps_N) - 1, 0)]
    near = (last < gaps_N) & (series_N[last] == series_N[gaps_N])
    if reach is not None:
        near &= gaps_N - last <= reach
    filled_N[gaps_N[near]] = values_N[last[near]]
    return filled_N
