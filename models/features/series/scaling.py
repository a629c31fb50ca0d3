"""Raw steps to what the network reads: imputed, centered, scaled, missing values flagged.

The order of the channels: observed, known in advance, the time since the previous step, the
calendar, then the flags of missing values.
Shapes: C channels, N steps, S series.
"""

import numpy as np

from models.features.config import Layout
from models.features.series.channels import RawSteps
from models.features.series.config import get_impute_limit, get_series_input
from models.features.series.scaler import Scaler
from models.features.steps import Doubles, Floats, Integers

MAX_SCALED = 1e6
"""Largest absolute value after scaling; extreme values are clipped, so that they stay finite."""


def scale_steps(raw: RawSteps, layout: Layout, scaler: Scaler) -> Floats:
    """Return the scaled steps, [N, C]; one channel at a time, so that only one is copied."""
    rows_S = scaler.find_rows(raw.entities_S)
    kind, limit = get_series_input(layout).scaler, get_impute_limit(layout)
    channels, waves = len(raw.values_CN), len(raw.calendar_KN)
    steps_NC = np.empty((len(raw.series_N), channels + waves + len(scaler.gaps)), np.float32)
    for channel, values_N in enumerate(scaler.to_units(raw.values_CN)):
        tables = (scaler.centre_EC, scaler.spread_EC, scaler.typical_EC)
        expanded = (_expand_to_steps(table[:, channel], rows_S, raw.series_N) for table in tables)
        center, spread, typical = expanded
        filled_N = fill_gaps(values_N, raw.series_N, limit, typical)
        steps_NC[:, channel] = scale_values(filled_N, center, spread, kind)
    steps_NC[:, channels : channels + waves] = raw.calendar_KN.T
    for index, channel in enumerate(scaler.gaps):
        steps_NC[:, channels + waves + index] = np.isnan(raw.values_CN[channel])
    return steps_NC


def scale_values(values_N: Doubles, center: Doubles, spread: Doubles, kind: str) -> Doubles:
    """Return values centered, divided by the spread, with arcsinh if asked for, and clipped."""
    if kind == "none":
        return values_N
    with np.errstate(over="ignore"):
        scaled_N = (values_N - center) / spread
    if kind == "arcsinh":
        np.arcsinh(scaled_N, out=scaled_N)
    return np.clip(scaled_N, -MAX_SCALED, MAX_SCALED, out=scaled_N)


def fill_gaps(
    values_N: Doubles, series_N: Integers, limit: int | None, typical: Doubles
) -> Doubles:
    """Return values in which the last one of the series, else a typical one, replaces missing ones.

    Args:
        values_N: of one channel.
        series_N: number of the series of each step, ascending.
        limit: steps to look back; 0 for none, None for no limit.
        typical: of each step, [N], or of all, [1].
    """
    gaps_N = np.flatnonzero(np.isnan(values_N))
    if not len(gaps_N):
        return values_N
    filled_N = values_N.copy()
    filled_N[gaps_N] = typical[gaps_N] if len(typical) > 1 else typical
    if limit == 0:
        return filled_N
    known_N = np.flatnonzero(~np.isnan(values_N))
    if not len(known_N):
        return filled_N
    last_known = known_N[np.maximum(np.searchsorted(known_N, gaps_N) - 1, 0)]
    is_near = (last_known < gaps_N) & (series_N[last_known] == series_N[gaps_N])
    if limit is not None:
        is_near &= gaps_N - last_known <= limit
    filled_N[gaps_N[is_near]] = values_N[last_known[is_near]]
    return filled_N


def _expand_to_steps(table_E: Doubles, rows_S: Integers | None, series_N: Integers) -> Doubles:
    """Return the value of each step's entity, [N]; [1] where all share one scale."""
    return table_E[:1] if rows_S is None else table_E[rows_S][series_N]
