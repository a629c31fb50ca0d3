"""Ask a served model about the windows of a long table: at every row, or at the end of each series.

The table is read in the order of its series, slice by slice, each with the rows around it that its
windows reach. A row whose place is unknown, or taken by another, is answered with that reason.
Shapes: R rows that are asked about.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from models.features.config import MINED, Layout
from models.features.series import ROW as NUMBER
from models.features.series import SeriesInput, context, line_up, resampled, row_ahead
from models.features.series.config import Context
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_order import Slice, slices
from tasks.dataset.series_positions import ROW, Placed, Places, place
from tasks.prediction import forecast_table
from tasks.prediction.forecast_table import GAP, gaps_of
from tasks.prediction.predict import LEARNED, TRUTH, Delayed, Question, asked, laid_out, learned_of

Which = Literal["all", "last"]
"""At which rows windows end: at all, or at the last of each series."""


def window_answers(
    question: Question, which: Which, folder: Path, *, by_step: bool = True
) -> Iterator[Delayed]:
    """Answer windows in the order of the series.

    Args:
        question: that is asked.
        which: rows it is asked at.
        folder: for temporary files.
        by_step: whether a forecast has a row for each step, rather than a list.
    """
    layout, target = question.scorer.featurizer.layout, question.scorer.featurizer.target
    averaged = question.truth if target.kind in {"number", "forecast"} else None
    placed = place(question.rows, layout, question.columns, averaged=averaged, folder=folder)
    last = ends_of(question, placed.line, layout) if which == "last" else None
    columns = [name for name in question.columns if name in placed.line.schema]
    reach = context(layout)
    for part in slices(placed.line, columns, reach):
        chosen_R = chosen(part, layout, last)
        if question.wanted:
            chosen_R = chosen_R[wanted_windows(question, part, chosen_R)]
        if len(chosen_R):
            yield delayed(question, part, chosen_R, placed, by_step=by_step)
    if len(placed.aside) and not question.wanted:
        yield lambda: without_place(question, placed)


def ends_of(question: Question, line: RowSet, layout: Layout) -> pl.DataFrame:
    """Find the time at which each series ends: the last at which its own values are known.

    A table whose channels are known ahead goes on after that. Without such, it is the last row.
    """
    read, rows, time = layout.input, line.scan(), pl.col(layout.time or "")
    if resampled(layout):
        rows = rows.filter(pl.col(NUMBER).is_not_null())
    newest = time.max()
    if isinstance(read, SeriesInput) and read.known_future:
        told = [question.truth] if question.truth else list(read.observed)
        known = pl.any_horizontal(pl.col(name).is_not_null() for name in told)
        newest = pl.coalesce(time.filter(known).max(), newest)
    if layout.entity is None:
        return rows.select(newest.alias(END)).collect(engine="streaming")
    return rows.group_by(layout.entity).agg(newest.alias(END)).collect(engine="streaming")


END = "__end__"


def chosen(part: Slice, layout: Layout, last: pl.DataFrame | None) -> Places:
    """Choose the places of a slice's own rows at which windows are asked for."""
    frame = part.frame
    own = np.arange(part.first, part.stop)
    there = frame[NUMBER].is_not_null().to_numpy()
    if last is None:
        return np.asarray(own[there[own]])
    keys = [layout.entity] if layout.entity else []
    joined = (
        frame.join(last, on=keys, how="left", maintain_order="left")
        if keys
        else frame.join(last, how="cross", maintain_order="left")
    )
    ends = joined.select((pl.col(layout.time or "") == pl.col(END)).fill_null(value=False))
    return np.asarray(own[(ends.to_series().to_numpy() & there)[own]])


def wanted_windows(
    question: Question, part: Slice, chosen_R: Places
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which windows have all of their answers among the rows that are asked for."""
    assert question.wanted is not None  # noqa: S101 - asked by the caller
    marked = question.wanted(part.frame)
    answers_R = ahead(part, question)[chosen_R]
    first_R = np.minimum(chosen_R + 1, np.maximum(answers_R, 0))
    return np.asarray((answers_R >= 0) & marked[np.maximum(answers_R, 0)] & marked[first_R])


def delayed(
    question: Question, part: Slice, chosen_R: Places, placed: Placed, *, by_step: bool
) -> Delayed:
    """Answer these windows of a slice when asked."""

    def answer() -> pl.DataFrame:
        layout, frame = question.scorer.featurizer.layout, part.frame
        near = neighbours(len(frame), chosen_R, context(layout))
        said = asked(question, frame.filter(near))[(np.cumsum(near) - 1)[chosen_R]]
        answers_R = ahead(part, question)[chosen_R]
        numbers = placed.numbers(frame[NUMBER].gather(chosen_R).to_numpy().astype(np.int64))
        table = laid_out(
            question,
            frame[chosen_R],
            numbers,
            said,
            truth=truths(question, frame, chosen_R, answers_R),
            learned=learned_windows(question, frame, chosen_R, answers_R),
        )
        if question.scorer.featurizer.target.kind != "forecast" or not by_step:
            return table
        gaps = gaps_of(frame, layout, chosen_R)
        return forecast_table.by_step(
            table.with_columns(gaps), layout, time_of(question), lists_of(question)
        )

    return answer


def time_of(question: Question) -> str:
    """Name the column of the answers with the time of a window's end."""
    return question.name_of(question.scorer.featurizer.layout.time or "")


def lists_of(question: Question) -> list[str]:
    """Name the columns of a forecast's answers that hold a value for each step."""
    told = [name for name, dtype in question.scorer.schema.items() if dtype == pl.List]
    return [*told, *([TRUTH] if question.truth else [])]


def learned_windows(
    question: Question, frame: pl.DataFrame, chosen_R: Places, answers_R: Places
) -> pl.Series:
    """Tell of each window whether the version learned from its answers.

    A forecast of several steps is told by the row where its window ends and by its last answer.
    """
    if resampled(question.scorer.featurizer.layout):
        return pl.Series(LEARNED, [None] * len(chosen_R), dtype=pl.Boolean)
    rows = learned_of(question, frame)
    if rows.null_count():
        return rows.gather(chosen_R)
    # What is not there yet, nobody has learned from.
    found = picked(rows, answers_R).fill_null(value=False)
    forecast = question.scorer.featurizer.target.kind == "forecast"
    return found | rows.gather(chosen_R) if forecast else found


def neighbours(
    count: int, chosen_R: Places, reach: Context
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the rows that windows which end at these reach."""
    turns = np.zeros(count + 1, np.int64)
    np.add.at(turns, np.maximum(chosen_R - reach.past_steps, 0), 1)
    np.add.at(turns, np.minimum(chosen_R + reach.future_steps + 1, count), -1)
    return np.asarray(np.cumsum(turns)[:count] > 0)


def ahead(part: Slice, question: Question) -> Places:
    """Find the place of each row's (last) answer in the frame; -1 where it is not there."""
    layout = question.scorer.featurizer.layout
    assert layout.window is not None  # noqa: S101 - this is a table of windows
    mined = question.scorer.featurizer.target.kind in MINED
    steps = 0 if mined else layout.window.horizon
    return row_ahead(line_up(part.frame, layout), steps)


def truths(
    question: Question, frame: pl.DataFrame, chosen_R: Places, answers_R: Places
) -> pl.Series | None:
    """Give what was to be answered: of forecasts all steps, null where they are not there yet."""
    name, featurizer = question.truth, question.scorer.featurizer
    if name is None:
        return None
    if featurizer.target.kind != "forecast":
        return picked(frame[name], answers_R)
    window = featurizer.layout.window
    assert window is not None  # noqa: S101 - this is a table of windows
    line = line_up(frame, featurizer.layout)
    steps = range(1, window.horizon + 1)
    told = [picked(frame[name], row_ahead(line, step)[chosen_R]) for step in steps]
    columns = [each.cast(pl.Float64).rename(str(step)) for step, each in enumerate(told)]
    return pl.DataFrame(columns).select(pl.concat_list(pl.all())).to_series()


def picked(column: pl.Series, places_R: Places) -> pl.Series:
    """Take values at places; null where there is none."""
    return column.gather(pl.Series(places_R).replace(-1, None))


def without_place(question: Question, placed: Placed) -> pl.DataFrame:
    """Answer rows that have no place with the reason, in a table like that of the others."""
    scorer, aside = question.scorer, placed.aside
    numbered = question.rows.scan().with_row_index(NUMBER)
    wanted = aside[ROW].cast(pl.UInt32).implode()
    kept = numbered.filter(pl.col(NUMBER).is_in(wanted)).select(
        pl.col(name).cast(placed.line.schema[name]) for name in question.keep
    )
    silent = pl.DataFrame(schema=dict(scorer.schema)).clear(len(aside))
    answers = silent.with_columns(status=aside["status"])
    blank = pl.Series([None] * len(aside), dtype=pl.Boolean)
    truth, forecast = None, scorer.featurizer.target.kind == "forecast"
    if name := question.truth:
        dtype = pl.List(pl.Float64) if forecast else placed.line.schema[name]
        truth = pl.Series([None] * len(aside), dtype=dtype)
    frame = kept.collect(engine="streaming")
    table = laid_out(question, frame, aside[ROW].to_numpy(), answers, truth=truth, learned=blank)
    if not forecast:
        return table
    layout = scorer.featurizer.layout
    times = placed.line.schema[layout.time or ""]
    gap = pl.Series(GAP, [None] * len(aside), dtype=times if times.is_numeric() else pl.Duration)
    return forecast_table.by_step(
        table.with_columns(gap), layout, time_of(question), lists_of(question)
    )
