"""What a series' own past answers, and by how much that errs.

Shapes: R rows, T steps of a forecast.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.series import ROW, Line, line_up, resample, resampled, row_ahead
from models.features.target import to_numbers
from tasks.dataset.rowset import RowSet

Floats = NDArray[np.float64]


class Past(NamedTuple):
    """The answers' column in the order of its series."""

    line: Line
    known: Floats
    """The answers, as codes or numbers; NaN or -1 where there is none."""
    places_R: NDArray[np.int64]
    """Where each sequence ends in the table."""


def past_of(rows: RowSet, table: pl.DataFrame, featurizer: Featurizer) -> Past:
    """Line up the answers' column, as the windows see it."""
    layout, target = featurizer.layout, featurizer.target
    columns = list(dict.fromkeys([*layout.raw_columns, target.column]))
    frame = rows.scan().select(columns).collect()
    places_R = table["row"].to_numpy()
    if resampled(layout):
        averaged = None if target.kind == "category" else target.column
        frame = resample(frame.with_row_index(ROW), layout, target=averaged)
        places = frame.select(row=pl.col(ROW).cast(pl.Int64)).with_row_index("place")
        found = table.select("row").join(places, on="row", how="left", maintain_order="left")
        places_R = found["place"].to_numpy().astype(np.int64)
    answers = frame[target.column]
    known = (
        target.encode(answers).astype(np.float64)
        if target.kind == "category"
        else to_numbers(answers)
    )
    return Past(line_up(frame, layout), known, places_R)


def at(past: Past, offset: int) -> Floats:
    """Give the answer so many steps from each sequence's end; NaN where there is none."""
    source = row_ahead(past.line, offset)[past.places_R]
    return np.where(source >= 0, past.known[np.maximum(source, 0)], np.nan)


def past_answers(past: Past, *, horizon: int, season: int) -> dict[str, Floats]:
    """Answer with the target's last known value, and with last season's."""
    naive = {"last value": 0}
    if season > 1:
        naive["seasonal naive"] = horizon - season * -(-horizon // season)
    return {name: at(past, offset) for name, offset in naive.items()}


def past_forecasts(past: Past, *, horizon: int, season: int) -> dict[str, Floats]:
    """Answer all steps ahead with the last known value, and with last season's, [R, T]."""
    last_R = at(past, 0)
    found = {"last value": np.repeat(last_R[:, None], horizon, axis=1)}
    if season > 1:
        steps = range(1, horizon + 1)
        columns = [past_answers(past, horizon=step, season=season) for step in steps]
        found["seasonal naive"] = np.stack([named["seasonal naive"] for named in columns], axis=1)
    return found


def naive_error(past: Past, *, season: int) -> Floats:
    """Tell what the (seasonal) naive forecast errs by before a series is first judged, [R].

    NaN where a series has no such past.
    """
    order, first = past.line.order_N, past.line.first_N
    values = past.known[order]
    series = np.cumsum(np.diff(first, prepend=-1) != 0) - 1
    place_of = np.empty(len(order), np.int64)
    place_of[order] = np.arange(len(order))
    judged = place_of[past.places_R]
    since = np.full(series[-1] + 1, len(order))
    np.minimum.at(since, series[judged], judged + 1)
    before = np.arange(len(order)) - season
    counted = (before >= first) & (np.arange(len(order)) < since[series])
    error = np.abs(values - values[np.maximum(before, 0)])
    counted &= np.isfinite(error)
    sums = np.bincount(series[counted], error[counted], minlength=len(since))
    counts = np.bincount(series[counted], minlength=len(since))
    means = np.divide(sums, counts, out=np.full(len(since), np.nan), where=counts > 0)
    return np.asarray(means[series[judged]])
