"""Naive forecasts: the target's last value, or its value one season before, and their error.

Shapes: N rows of the table, R sequences, T steps of a forecast.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.series import (
    ROW_COLUMN,
    SortedSeries,
    find_rows_ahead,
    index_series,
    is_resampled,
    resample_series,
)
from models.features.target import read_numbers
from tasks.dataset.rowset import RowSet

Floats = NDArray[np.float64]


class TargetHistory(NamedTuple):
    """The targets of all rows, and where sequences end."""

    series: SortedSeries
    """The order of the rows in their series."""
    targets_N: Floats
    """Class codes, -1 where unknown, or numbers, NaN where missing; in the order of the table."""
    ends_R: NDArray[np.int64]
    """Index in the table of each sequence's last row."""


def load_target_history(rows: RowSet, table: pl.DataFrame, featurizer: Featurizer) -> TargetHistory:
    """Load the targets of all rows, resampled as the windows are.

    Args:
        rows: the table.
        table: of the sequences, with the number of each one's last `row`.
        featurizer: with layout and target.
    """
    layout, target = featurizer.layout, featurizer.target
    columns = list(dict.fromkeys([*layout.raw_columns, target.column]))
    frame = rows.scan().select(columns).collect()
    ends_R = table["row"].to_numpy()
    if is_resampled(layout):
        averaged = () if target.kind == "category" else target.columns
        frame = resample_series(frame.with_row_index(ROW_COLUMN), layout, averaged=averaged)
        bins = frame.select(row=pl.col(ROW_COLUMN).cast(pl.Int64)).with_row_index("index")
        joined = table.select("row").join(bins, on="row", how="left", maintain_order="left")
        ends_R = joined["index"].to_numpy().astype(np.int64)
    column = frame[target.column]
    targets_N = (
        target.encode(column).astype(np.float64)
        if target.kind == "category"
        else read_numbers(column)
    )
    return TargetHistory(index_series(frame, layout), targets_N, ends_R)


def read_targets_at(history: TargetHistory, offset: int) -> Floats:
    """Return the target `offset` steps after each sequence's end, [R]; NaN where there is none."""
    indices_R = find_rows_ahead(history.series, offset)[history.ends_R]
    return np.where(indices_R >= 0, history.targets_N[np.maximum(indices_R, 0)], np.nan)


def predict_naive(history: TargetHistory, *, horizon: int, season: int) -> dict[str, Floats]:
    """Predict the target `horizon` steps ahead by its last value and that of the season before.

    Returns:
        [R] by the baseline's name; the seasonal one where `season` > 1.
    """
    offsets = {"last value": 0}
    if season > 1:
        offsets["seasonal naive"] = horizon - season * -(-horizon // season)
    return {name: read_targets_at(history, offset) for name, offset in offsets.items()}


def forecast_naive(history: TargetHistory, *, horizon: int, season: int) -> dict[str, Floats]:
    """Forecast all steps up to `horizon` as `predict_naive` does, [R, T] by the baseline's name."""
    last_R = read_targets_at(history, 0)
    forecasts = {"last value": np.repeat(last_R[:, None], horizon, axis=1)}
    if season > 1:
        steps = range(1, horizon + 1)
        columns = [predict_naive(history, horizon=step, season=season) for step in steps]
        seasonal = [column["seasonal naive"] for column in columns]
        forecasts["seasonal naive"] = np.stack(seasonal, axis=1)
    return forecasts


_MIN_SHARE = 0.1
"""Part of the mean relative error of all series below which that of one does not fall."""


def compute_naive_error(history: TargetHistory, *, season: int) -> Floats:
    """Compute the mean absolute error of the (seasonal) naive forecast on the past of a series.

    The error e of a series is mean |y_t - y_(t - season)| over the rows up to the first of its
    sequences' ends, the denominator of MASE (Hyndman and Koehler, 2006). For a series that hardly
    changes it would be near 0, and the one series would outweigh all others; so it is

        max(e, 0.1 * l * mean over all series of (e / l)),  l = mean |y_t| over the same rows:

    a series is scaled by no less than a tenth of the usual change at its level.

    Returns:
        [R], the error of each sequence's series; NaN where it has no such rows, and 0 where it is
        0 in all of them, or all series are constant: these are left out of MASE.
    """
    order, first = history.series.order_N, history.series.first_N
    values = history.targets_N[order]
    series = np.cumsum(np.diff(first, prepend=-1) != 0) - 1
    position_N = np.empty(len(order), np.int64)
    position_N[order] = np.arange(len(order))
    ends_R = position_N[history.ends_R]
    # Of each series, the position after its first sequence's end.
    limits = np.full(series[-1] + 1, len(order))
    np.minimum.at(limits, series[ends_R], ends_R + 1)
    earlier = np.arange(len(order)) - season
    valid = (earlier >= first) & (np.arange(len(order)) < limits[series])
    error = np.abs(values - values[np.maximum(earlier, 0)])
    valid &= np.isfinite(error)
    sums = np.bincount(series[valid], error[valid], minlength=len(limits))
    counts = np.bincount(series[valid], minlength=len(limits))
    level_sums = np.bincount(series[valid], np.abs(values[valid]), minlength=len(limits))
    means, levels = (
        np.divide(each, counts, out=np.full(len(limits), np.nan), where=counts > 0)
        for each in (sums, level_sums)
    )
    used = np.unique(series[ends_R])
    known = used[levels[used] > 0]
    typical = np.mean(means[known] / levels[known]) if len(known) else 0.0
    return np.asarray(np.maximum(means, _MIN_SHARE * typical * levels)[series[ends_R]])
