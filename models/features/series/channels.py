"""The channels of a series before scaling: as observed, known in advance, and told by the time.

Numbers stay float64 until they are centred, so that data far from zero keeps its digits.
Shapes: C channels, K channels of the calendar, N steps, S series, R rows of the table.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.config import Layout
from models.features.series.config import get_series_input, scales_entities
from models.features.series.line import SortedSeries, find_positions_ahead, index_series
from models.features.series.times import calendar_waves, log_gaps
from models.features.steps import Floats, Integers

Doubles = NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)
"""What lies beyond is taken for a gap, as what is not finite is."""


class RawSteps(NamedTuple):
    """Steps before scaling, channel by channel, NaN where a value is missing."""

    values_CN: Doubles
    """What is scaled: observed, known, and the time since the step before."""
    calendar_KN: Floats
    """What is on its scale already."""
    series_N: Integers
    """Number of the series that each step belongs to; they rise."""
    entities_S: pl.Series | None
    """Whose series they are, where each entity has its own scale."""
    starts_R: Integers
    stops_R: Integers
    errors_R: list[str | None]


def raw_steps(frame: pl.DataFrame, layout: Layout) -> RawSteps:
    """Read windows of a long table, or each row's lists."""
    return window_steps(frame, layout) if layout.window else list_steps(frame, layout)


def window_steps(frame: pl.DataFrame, layout: Layout) -> RawSteps:
    """Let a window end at every row of a long table; rows with too short a past have an error."""
    assert layout.window is not None  # noqa: S101 - this is a table of windows
    line, length = index_series(frame, layout), layout.window.lookback
    places = np.arange(len(frame), dtype=np.int64)
    history = places + 1 - line.first_N
    too_short = history < length
    starts_R, stops_R = np.zeros_like(places), np.zeros_like(places)
    starts_R[line.order_N] = np.where(too_short, 0, places + 1 - length)
    stops_R[line.order_N] = np.where(too_short, 0, places + 1)
    errors = np.full(len(frame), None, object)
    errors[line.order_N[too_short]] = short_histories(history[too_short], length)
    begins = history == 1
    owners = line.order_N[begins] if scales_entities(layout) else None
    return RawSteps(
        window_channels(frame, layout, line),
        window_calendar(frame, layout, line),
        np.cumsum(begins) - 1,
        None if owners is None else frame[layout.entity or ""].gather(owners),
        starts_R,
        stops_R,
        errors.tolist(),
    )


def short_histories(history_N: Integers, length: int) -> NDArray[np.object_]:
    """Say of each row how much of its window is missing; equal ones share their text."""
    counts = range(int(history_N.max(initial=0)) + 1)
    texts = [f"the window needs {length} steps, this row has {count}" for count in counts]
    return np.array(texts, object)[history_N]


def window_channels(frame: pl.DataFrame, layout: Layout, line: SortedSeries) -> Doubles:
    """Lay the channels of a long table under each other, in the order of the line."""
    read = get_series_input(layout)
    channels_CN = np.empty((len(read.channel_names), len(frame)), np.float64)
    ahead = find_positions_ahead(
        line, layout.window.horizon if layout.window and read.known_future else 0
    )
    for row_N, name in zip(channels_CN, read.columns, strict=False):
        row_N[:] = to_doubles(frame[name])[line.order_N]
        if name in read.known_future:
            row_N[:] = np.where(ahead >= 0, row_N[ahead], np.nan)
    if read.time_delta and layout.time:
        channels_CN[-1] = log_gaps(frame[layout.time].gather(line.order_N))
        channels_CN[-1, line.first_N] = np.nan
    return cleaned(channels_CN)


def window_calendar(frame: pl.DataFrame, layout: Layout, line: SortedSeries) -> Floats:
    """Tell the calendar of each step's time."""
    parts = get_series_input(layout).calendar
    if not parts or layout.time is None:
        return np.empty((0, len(frame)), np.float32)
    return calendar_waves(frame[layout.time].gather(line.order_N), parts)


def to_doubles(column: pl.Series) -> Doubles:
    """Read numbers, NaN where one is missing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def cleaned(channels_CN: Doubles) -> Doubles:
    """Make gaps of what is not finite, or beyond what a float32 holds."""
    for row_N in channels_CN:
        row_N[~(np.abs(row_N) <= LARGEST)] = np.nan
    return channels_CN


def list_steps(frame: pl.DataFrame, layout: Layout) -> RawSteps:
    """Read each row's lists side by side as channels; lists that do not fit are an error."""
    columns = get_series_input(layout).observed
    lists = frame.select(as_list(frame[name]) for name in columns)
    lengths_RC = lists.select(pl.all().list.len().fill_null(0)).to_numpy().astype(np.int64)
    fits_R = (lengths_RC == lengths_RC[:, :1]).all(axis=1) & (lengths_RC[:, 0] > 0)
    lengths_R = np.where(fits_R, lengths_RC[:, 0], 0)
    fitting = lists.filter(fits_R)
    stops_R = np.cumsum(lengths_R)
    channels_CN = np.empty((len(columns), int(lengths_R.sum())), np.float64)
    for row_N, name in zip(channels_CN, columns, strict=True):
        row_N[:] = to_doubles(fitting[name].explode(empty_as_null=False, keep_nulls=False))
    owned = scales_entities(layout) and layout.entity
    return RawSteps(
        cleaned(channels_CN),
        np.empty((0, channels_CN.shape[1]), np.float32),
        np.repeat(np.arange(fits_R.sum()), lengths_R[fits_R]),
        frame[owned].filter(pl.Series(fits_R)) if owned else None,
        stops_R - lengths_R,
        stops_R,
        misfits(lengths_RC, columns),
    )


def as_list(column: pl.Series) -> pl.Series:
    """See arrays of a fixed length, and a column of nothing but gaps, as lists."""
    if column.dtype == pl.Null:
        return column.cast(pl.List(pl.Float64))
    return column.arr.to_list() if isinstance(column.dtype, pl.Array) else column


def misfits(lengths_RC: Integers, columns: tuple[str, ...]) -> list[str | None]:
    """Return why rows cannot be read; those with lists of the same lengths share their text."""
    kinds_KC, which_R = np.unique(lengths_RC, axis=0, return_inverse=True)
    texts = [misfit(lengths_C, columns) for lengths_C in kinds_KC]
    return np.array(texts, object)[which_R].tolist() if texts else []


def misfit(lengths_C: Integers, columns: tuple[str, ...]) -> str | None:
    """Return why lists of these lengths cannot be read, if they cannot."""
    for name, length in zip(columns, lengths_C, strict=True):
        if length == 0:
            return f"column '{name}' is empty"
    several = sorted({int(length) for length in lengths_C})
    return f"the channels differ in length: {several}" if len(several) > 1 else None
