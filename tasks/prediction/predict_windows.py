"""Predict the windows of a long table: at every row, or at the end of each series.

The table is read in the order of its series, slice by slice, each with the rows around it that its
windows need. A row without a unique position in its series has the reason as its status.
Shapes: R windows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from models.features.config import SELF_SUPERVISED, Layout
from models.features.series import ROW_COLUMN as NUMBER
from models.features.series import (
    SeriesInput,
    compute_context,
    find_rows_ahead,
    index_series,
    is_resampled,
)
from models.features.series.config import WindowContext
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_order import SeriesSlice, slice_series
from tasks.dataset.series_positions import ROW, OrderedRows, RowNumbers, order_rows
from tasks.prediction import forecast_table
from tasks.prediction.forecast_table import TIME_STEP, infer_time_steps
from tasks.prediction.predict import (
    IN_TRAINING,
    LazyPredictions,
    PredictionRequest,
    build_output,
    flag_training_rows,
    predict_frame,
)

WindowEnds = Literal["all", "last"]
"""At which rows windows end: at all, or at the last of each series."""

_END = "__end__"


def predict_windows(
    request: PredictionRequest, ends: WindowEnds, folder: Path, *, by_step: bool = True
) -> Iterator[LazyPredictions]:
    """Predict windows in the order of the series, and then list the rejected rows.

    Args:
        request: rows, version and columns.
        ends: at which rows windows end.
        folder: for temporary files, which must exist until the last prediction.
        by_step: whether a forecast has a row for each step, rather than a list.
    """
    layout, target = request.scorer.featurizer.layout, request.scorer.featurizer.target
    averaged = [*request.target_columns.values()] if target.kind in {"number", "forecast"} else []
    ordered = order_rows(request.rows, layout, request.columns, averaged=averaged, folder=folder)
    last = _find_series_ends(request, ordered.sorted_rows, layout) if ends == "last" else None
    columns = [name for name in request.columns if name in ordered.sorted_rows.schema]
    for part in slice_series(ordered.sorted_rows, columns, compute_context(layout)):
        ends_R = _select_ends(part, layout, last)
        if request.row_filter:
            ends_R = ends_R[_filter_windows(request, part, ends_R)]
        if len(ends_R):
            yield _predict_later(request, part, ends_R, ordered, by_step=by_step)
    if len(ordered.rejected) and not request.row_filter:
        yield lambda: _build_rejected(request, ordered)


def _find_series_ends(
    request: PredictionRequest, sorted_rows: RowSet, layout: Layout
) -> pl.DataFrame:
    """Find the last time of each series at which its own values are known.

    Rows with known future channels only may follow it. Without such channels, it is the last row.

    Returns:
        A row for each entity, or one row, with the time in column `_END`.
    """
    series_input, rows, time = layout.input, sorted_rows.scan(), pl.col(layout.time or "")
    if is_resampled(layout):
        rows = rows.filter(pl.col(NUMBER).is_not_null())
    newest = time.max()
    if isinstance(series_input, SeriesInput) and series_input.known_future:
        observed = series_input.observed
        names = [*request.target_columns.values()] or list(observed)
        known = pl.any_horizontal(pl.col(name).is_not_null() for name in names)
        newest = pl.coalesce(time.filter(known).max(), newest)
    if layout.entity is None:
        return rows.select(newest.alias(_END)).collect(engine="streaming")
    return rows.group_by(layout.entity).agg(newest.alias(_END)).collect(engine="streaming")


def _select_ends(part: SeriesSlice, layout: Layout, last: pl.DataFrame | None) -> RowNumbers:
    """Return the indices in a slice's frame of its own rows at which windows end."""
    frame = part.frame
    own = np.arange(part.first, part.stop)
    is_row = frame[NUMBER].is_not_null().to_numpy()
    if last is None:
        return np.asarray(own[is_row[own]])
    keys = [layout.entity] if layout.entity else []
    joined = (
        frame.join(last, on=keys, how="left", maintain_order="left")
        if keys
        else frame.join(last, how="cross", maintain_order="left")
    )
    is_end = joined.select((pl.col(layout.time or "") == pl.col(_END)).fill_null(value=False))
    return np.asarray(own[(is_end.to_series().to_numpy() & is_row)[own]])


def _filter_windows(
    request: PredictionRequest, part: SeriesSlice, ends_R: RowNumbers
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the windows whose first and last target rows pass the row filter."""
    assert request.row_filter is not None  # noqa: S101 - checked by the caller
    marked = request.row_filter(part.frame)
    targets_R = _find_target_indices(part, request)[ends_R]
    first_R = np.minimum(ends_R + 1, np.maximum(targets_R, 0))
    return np.asarray((targets_R >= 0) & marked[np.maximum(targets_R, 0)] & marked[first_R])


def _predict_later(
    request: PredictionRequest,
    part: SeriesSlice,
    ends_R: RowNumbers,
    ordered: OrderedRows,
    *,
    by_step: bool,
) -> LazyPredictions:
    """Return the function that predicts these windows of a slice."""

    def predict() -> pl.DataFrame:
        layout, frame = request.scorer.featurizer.layout, part.frame
        needed = _mark_context_rows(len(frame), ends_R, compute_context(layout))
        predictions = predict_frame(request, frame.filter(needed))
        predictions = predictions[(np.cumsum(needed) - 1)[ends_R]]
        targets_R = _find_target_indices(part, request)[ends_R]
        numbers_R = ordered.to_source_numbers(
            frame[NUMBER].gather(ends_R).to_numpy().astype(np.int64)
        )
        table = build_output(
            request,
            frame[ends_R],
            numbers_R,
            predictions,
            targets=_read_targets(request, frame, ends_R, targets_R),
            in_training=_flag_training_windows(request, frame, ends_R, targets_R),
        )
        if request.scorer.featurizer.target.kind != "forecast" or not by_step:
            return table
        time_steps = infer_time_steps(frame, layout, ends_R)
        return forecast_table.explode_steps(
            table.with_columns(time_steps),
            layout,
            _name_time_column(request),
            _name_list_columns(request),
        )

    return predict


def _name_time_column(request: PredictionRequest) -> str:
    """Return the output column with the time of a window's end."""
    return request.choose_output_name(request.scorer.featurizer.layout.time or "")


def _name_list_columns(request: PredictionRequest) -> list[str]:
    """Return the output columns of a forecast that have a value for each step."""
    lists = [name for name, dtype in request.scorer.schema.items() if dtype == pl.List]
    return [*lists, *request.target_columns]


def _flag_training_windows(
    request: PredictionRequest, frame: pl.DataFrame, ends_R: RowNumbers, targets_R: RowNumbers
) -> pl.Series:
    """Mark the windows whose targets were in the version's training or validation, [R].

    Of a forecast of several steps the row where its window ends and its last target are checked.
    Null where it is unknown.
    """
    if is_resampled(request.scorer.featurizer.layout):
        return pl.Series(IN_TRAINING, [None] * len(ends_R), dtype=pl.Boolean)
    rows = flag_training_rows(request, frame)
    if rows.null_count():
        return rows.gather(ends_R)
    # A target that does not exist yet was in no training.
    marked = _gather_values(rows, targets_R).fill_null(value=False)
    forecast = request.scorer.featurizer.target.kind == "forecast"
    return marked | rows.gather(ends_R) if forecast else marked


def _mark_context_rows(
    count: int, ends_R: RowNumbers, reach: WindowContext
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark which of `count` rows the windows that end at these indices need."""
    changes = np.zeros(count + 1, np.int64)
    np.add.at(changes, np.maximum(ends_R - reach.past_steps, 0), 1)
    np.add.at(changes, np.minimum(ends_R + reach.future_steps + 1, count), -1)
    return np.asarray(np.cumsum(changes)[:count] > 0)


def _find_target_indices(part: SeriesSlice, request: PredictionRequest) -> RowNumbers:
    """Return the index of each row's (last) target in the frame; -1 where there is none."""
    layout = request.scorer.featurizer.layout
    assert layout.window is not None  # noqa: S101 - this is a table of windows
    self_supervised = request.scorer.featurizer.target.kind in SELF_SUPERVISED
    steps = 0 if self_supervised else layout.window.horizon
    return find_rows_ahead(index_series(part.frame, layout), steps)


def _read_targets(
    request: PredictionRequest, frame: pl.DataFrame, ends_R: RowNumbers, targets_R: RowNumbers
) -> list[pl.Series]:
    """Return the targets of each column, of forecasts as lists of all steps.

    They are null where they do not exist yet.
    """
    names, featurizer = request.target_columns.values(), request.scorer.featurizer
    if featurizer.target.kind != "forecast":
        return [_gather_values(frame[name], targets_R) for name in names]
    window = featurizer.layout.window
    assert window is not None  # noqa: S101 - this is a table of windows
    series = index_series(frame, featurizer.layout)
    rows = [find_rows_ahead(series, step)[ends_R] for step in range(1, window.horizon + 1)]
    return [_gather_steps(frame[name].cast(pl.Float64), rows) for name in names]


def _gather_steps(column: pl.Series, rows: Sequence[RowNumbers]) -> pl.Series:
    """Gather the values at several indices of each window, as lists; null where one is unknown."""
    columns = [_gather_values(column, each).rename(str(step)) for step, each in enumerate(rows)]
    return pl.DataFrame(columns).select(pl.concat_list(pl.all())).to_series()


def _gather_values(column: pl.Series, indices_R: RowNumbers) -> pl.Series:
    """Gather values by index; -1 gives null."""
    return column.gather(pl.Series(indices_R).replace(-1, None))


def _build_rejected(request: PredictionRequest, ordered: OrderedRows) -> pl.DataFrame:
    """Build the output of rejected rows: no prediction, and the reason as status."""
    scorer, rejected = request.scorer, ordered.rejected
    numbered = request.rows.scan().with_row_index(NUMBER)
    numbers = rejected[ROW].cast(pl.UInt32).implode()
    passthrough = numbered.filter(pl.col(NUMBER).is_in(numbers)).select(
        pl.col(name).cast(ordered.sorted_rows.schema[name]) for name in request.passthrough_columns
    )
    empty = pl.DataFrame(schema=dict(scorer.schema)).clear(len(rejected))
    predictions = empty.with_columns(status=rejected["status"])
    unknown = pl.Series([None] * len(rejected), dtype=pl.Boolean)
    forecast = scorer.featurizer.target.kind == "forecast"
    targets = []
    for name in request.target_columns.values():
        dtype = pl.List(pl.Float64) if forecast else ordered.sorted_rows.schema[name]
        targets.append(pl.Series([None] * len(rejected), dtype=dtype))
    frame = passthrough.collect(engine="streaming")
    table = build_output(
        request, frame, rejected[ROW].to_numpy(), predictions, targets=targets, in_training=unknown
    )
    if not forecast:
        return table
    layout = scorer.featurizer.layout
    time_type = ordered.sorted_rows.schema[layout.time or ""]
    time_step = pl.Series(
        TIME_STEP,
        [None] * len(rejected),
        dtype=time_type if time_type.is_numeric() else pl.Duration,
    )
    return forecast_table.explode_steps(
        table.with_columns(time_step),
        layout,
        _name_time_column(request),
        _name_list_columns(request),
    )
