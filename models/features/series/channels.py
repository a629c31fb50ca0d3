"""The channels of a series before scaling: observed, known in advance, and features of the time.

Numbers stay float64 until they are centered, so that data far from zero keeps its digits.
Shapes: C channels, K channels of the calendar, N steps, S series, R rows of the table.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.config import Layout
from models.features.series.categories import read_labels
from models.features.series.config import get_series_input, scales_per_entity
from models.features.series.sorted_series import SortedSeries, find_positions_ahead, index_series
from models.features.series.time_features import compute_log_gaps, encode_calendar
from models.features.steps import Doubles, Floats, Integers

_MAX_FLOAT32 = float(np.finfo(np.float32).max)
"""Values beyond it count as missing, as values that are not finite do."""


class RawSteps(NamedTuple):
    """Steps before scaling, channel by channel, NaN where a value is missing."""

    values_CN: Doubles
    """Channels to scale: observed, known in advance, and the time since the previous step."""
    calendar_KN: Floats
    """Channels that need no scaling."""
    series_N: Integers
    """Number of the series that each step belongs to, ascending."""
    entities_S: pl.Series | None
    """The entity of each series; None unless each entity has its own scale."""
    starts_R: Integers
    stops_R: Integers
    errors_R: list[str | None]
    labels: tuple[pl.Series, ...] = ()
    """Of each step the value of each column of classes, as text."""


def read_raw_steps(frame: pl.DataFrame, layout: Layout) -> RawSteps:
    """Return the steps of a long table with windows, or those of one list for each row."""
    return _read_windows(frame, layout) if layout.window else _read_lists(frame, layout)


def replace_unusable(channels_CN: Doubles) -> Doubles:
    """Replace values that are not finite, or beyond the range of float32, by NaN in place."""
    for row_N in channels_CN:
        row_N[~(np.abs(row_N) <= _MAX_FLOAT32)] = np.nan
    return channels_CN


def _read_windows(frame: pl.DataFrame, layout: Layout) -> RawSteps:
    """Return the steps of a long table: one window ends at each row, too short ones are errors."""
    assert layout.window is not None  # noqa: S101 - this is a table of windows
    series, length = index_series(frame, layout), layout.window.lookback
    positions = np.arange(len(frame), dtype=np.int64)
    history_N = positions + 1 - series.first_N
    too_short = history_N < length
    starts_R, stops_R = np.zeros_like(positions), np.zeros_like(positions)
    starts_R[series.order_N] = np.where(too_short, 0, positions + 1 - length)
    stops_R[series.order_N] = np.where(too_short, 0, positions + 1)
    errors = np.full(len(frame), None, object)
    errors[series.order_N[too_short]] = _format_short_histories(history_N[too_short], length)
    is_first = history_N == 1
    first_rows = series.order_N[is_first] if scales_per_entity(layout) else None
    return RawSteps(
        _read_window_channels(frame, layout, series),
        _read_window_calendar(frame, layout, series),
        np.cumsum(is_first) - 1,
        None if first_rows is None else frame[layout.entity or ""].gather(first_rows),
        starts_R,
        stops_R,
        errors.tolist(),
        tuple(
            read_labels(frame[name]).gather(series.order_N)
            for name in get_series_input(layout).categories
        ),
    )


def _format_short_histories(history_N: Integers, length: int) -> NDArray[np.object_]:
    """Return an error for each row with too few past steps; equal errors are one object."""
    counts = range(int(history_N.max(initial=0)) + 1)
    texts = [f"the window needs {length} steps, this row has {count}" for count in counts]
    return np.array(texts, object)[history_N]


def _read_window_channels(frame: pl.DataFrame, layout: Layout, series: SortedSeries) -> Doubles:
    """Return the channels of a long table, [C, N], in the order of the sorted series."""
    config = get_series_input(layout)
    channels_CN = np.empty((len(config.channel_names), len(frame)), np.float64)
    ahead_N = find_positions_ahead(
        series, layout.window.horizon if layout.window and config.known_future else 0
    )
    for row_N, name in zip(channels_CN, config.numbers, strict=False):
        row_N[:] = _read_doubles(frame[name])[series.order_N]
        if name in config.known_future:
            row_N[:] = np.where(ahead_N >= 0, row_N[ahead_N], np.nan)
    if config.time_delta and layout.time:
        channels_CN[-1] = compute_log_gaps(frame[layout.time].gather(series.order_N))
        channels_CN[-1, series.first_N] = np.nan
    return replace_unusable(channels_CN)


def _read_window_calendar(frame: pl.DataFrame, layout: Layout, series: SortedSeries) -> Floats:
    """Return the calendar channels of the time of each step, [K, N]."""
    parts = get_series_input(layout).calendar
    if not parts or layout.time is None:
        return np.empty((0, len(frame)), np.float32)
    return encode_calendar(frame[layout.time].gather(series.order_N), parts)


def _read_doubles(column: pl.Series) -> Doubles:
    """Return a column as float64, NaN where a value is missing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _read_lists(frame: pl.DataFrame, layout: Layout) -> RawSteps:
    """Return the steps of one list per channel in each row; lists of unequal length are errors."""
    columns = get_series_input(layout).observed
    lists = frame.select(_to_list_column(frame[name]) for name in columns)
    lengths_RC = lists.select(pl.all().list.len().fill_null(0)).to_numpy().astype(np.int64)
    fits_R = (lengths_RC == lengths_RC[:, :1]).all(axis=1) & (lengths_RC[:, 0] > 0)
    lengths_R = np.where(fits_R, lengths_RC[:, 0], 0)
    valid_lists = lists.filter(fits_R)
    stops_R = np.cumsum(lengths_R)
    channels_CN = np.empty((len(columns), int(lengths_R.sum())), np.float64)
    for row_N, name in zip(channels_CN, columns, strict=True):
        row_N[:] = _read_doubles(valid_lists[name].explode(empty_as_null=False, keep_nulls=False))
    entity = scales_per_entity(layout) and layout.entity
    return RawSteps(
        replace_unusable(channels_CN),
        np.empty((0, channels_CN.shape[1]), np.float32),
        np.repeat(np.arange(fits_R.sum()), lengths_R[fits_R]),
        frame[entity].filter(pl.Series(fits_R)) if entity else None,
        stops_R - lengths_R,
        stops_R,
        _find_list_errors(lengths_RC, columns),
    )


def _to_list_column(column: pl.Series) -> pl.Series:
    """Return a column of lists, also for arrays of a fixed length and for a column of nulls."""
    if column.dtype == pl.Null:
        return column.cast(pl.List(pl.Float64))
    return column.arr.to_list() if isinstance(column.dtype, pl.Array) else column


def _find_list_errors(lengths_RC: Integers, columns: tuple[str, ...]) -> list[str | None]:
    """Return why each row cannot be read, or None; rows with the same lengths share one object."""
    lengths_KC, group_R = np.unique(lengths_RC, axis=0, return_inverse=True)
    texts = [_describe_list_error(lengths_C, columns) for lengths_C in lengths_KC]
    return np.array(texts, object)[group_R].tolist() if texts else []


def _describe_list_error(lengths_C: Integers, columns: tuple[str, ...]) -> str | None:
    """Return why lists of these lengths cannot be read, or None."""
    for name, length in zip(columns, lengths_C, strict=True):
        if length == 0:
            return f"column '{name}' is empty"
    distinct = sorted({int(length) for length in lengths_C})
    return f"the channels differ in length: {distinct}" if len(distinct) > 1 else None
