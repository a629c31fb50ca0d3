"""Features of a long table: a window ends at every row, and its steps are shared.

The table is read in the order of its series, slice by slice: once to fit, once to write. What is
held does not grow with the rows.
Shapes: N steps, R rows of a slice with its context.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import MINED, Layout, TargetConfig
from models.features.featurizer import Featurizer, Sample
from models.features.series import (
    ROW,
    SeriesState,
    channel_scale,
    context,
    fit_windows,
    line_up,
    row_ahead,
    scales_entities,
)
from models.features.splitting.split import TRAINING, UNUSED, SplitConfig, split_columns
from models.features.static_covariates import fit_statics
from models.features.target import Lists, Target, check_answers, fit_target, to_numbers
from tasks.dataset.feature_files import GrowingFile, side_columns, write_steps
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_order import Slice, lined_up, slices
from tasks.features.sequence_table import Made, nothing_left, require_splits, tally, with_answers
from tasks.features.window_split import WindowPlan, plan_windows


class Windows(NamedTuple):
    """The windows of one slice's own rows."""

    own: slice
    answer_R: NDArray[np.int64]
    """Place in the frame of each own row's (last) answer; -1 where there is none."""
    splits_R: NDArray[np.int8]


class Line(NamedTuple):
    """A lined up table and how it is read."""

    rows: RowSet
    layout: Layout
    plan: WindowPlan
    target: TargetConfig

    def read(self, columns: list[str]) -> Iterator[tuple[Slice, Windows]]:
        """Read slices of these columns, each with its windows."""
        for part in slices(self.rows, columns, context(self.layout)):
            yield part, self.windows(part)

    def windows(self, part: Slice) -> Windows:
        """Find the answer of each of a slice's rows, and its split."""
        assert self.layout.window is not None  # noqa: S101 - this is a table of windows
        own, kind = slice(part.first, part.stop), self.target.kind
        ahead = 0 if kind in MINED else self.layout.window.horizon
        answer_R = row_ahead(line_up(part.frame, self.layout), ahead)[own]
        splits, answers = self.plan.splits_of(part.frame), np.maximum(answer_R, 0)
        # A bin of a resampled series that has no row has no answer, and nobody asks at its end.
        present = part.frame[ROW].is_not_null().to_numpy()
        asked = (answer_R >= 0) & present[own]
        if kind == "forecast":
            # All answers of a window belong to one split, and one of them at least is known.
            first = np.arange(part.first, part.stop) + 1
            first = np.minimum(first, len(splits) - 1)
            known = np.isfinite(to_numbers(part.frame[self.target.column]))
            asked &= one_value(splits, first, answers) & some(known, first, answers)
        else:
            asked &= present[answers]
        return Windows(own, answer_R, np.where(asked, splits[answers], UNUSED).astype(np.int8))


def one_value(
    values: NDArray[np.int8], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell of each run from first to last whether all its values are the same."""
    changes = np.cumsum(np.diff(values, prepend=values[:1]) != 0)
    return np.asarray(changes[first] == changes[last])


def some(
    marked: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell of each run from first to last whether any of its places is marked."""
    counts = np.concatenate([[0], np.cumsum(marked)])
    return np.asarray(counts[last + 1] > counts[first])


def training_rows(line: Line, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Read the rows at which a training window ends."""
    for part, windows in line.read(columns):
        chosen = windows.splits_R == TRAINING
        if chosen.any():
            yield part.frame[windows.own].filter(pl.Series(chosen))


def training_answers(
    line: Line, columns: list[str], target: str
) -> Iterator[tuple[pl.Series, pl.Series | None]]:
    """Read the answers of the training windows, and whose they are."""
    entity = line.layout.entity
    for part, windows in line.read(columns):
        rows = windows.answer_R[windows.splits_R == TRAINING]
        if len(rows):
            answers = part.frame[target].gather(rows)
            yield answers, part.frame[entity].gather(rows) if entity else None


def fit_line(line: Line, *, keys: list[str], target: TargetConfig) -> Featurizer:
    """Fit all state on the training windows."""
    layout = line.layout
    marked = (
        (part.frame, np.flatnonzero(windows.splits_R == TRAINING) + part.first)
        for part, windows in line.read(unique(keys, layout.input.columns))
    )
    state = fit_windows(marked, layout)
    sides = [side.column for side in layout.statics]
    statics = fit_statics(training_rows(line, unique(keys, sides)), layout.statics)
    fitted = Target(column="", kind=target.kind)
    if target.column:
        answers = training_answers(line, unique(keys, [target.column]), target.column)
        own = scales_entities(layout)
        fitted = fit_target(((a, names if own else None) for a, names in answers), target)
    return Featurizer(
        layout=layout,
        state=state,
        statics=statics,
        target=on_scale_of_channel(fitted, layout, state),
        split=line.plan.split,
    )


def on_scale_of_channel(target: Target, layout: Layout, state: Any) -> Target:  # noqa: ANN401 - of any kind
    """Bring a forecast to the scale of its own past, where the network sees that."""
    if target.kind != "forecast" or not isinstance(state, SeriesState):
        return target
    own = channel_scale(layout, state, target.column)
    if own is None:
        return target
    (mean, spread), entities = own
    return replace(target, mean=mean, spread=spread, entities=entities)


def unique(*groups: Iterable[str]) -> list[str]:
    """Name each column once."""
    return list(dict.fromkeys(name for group in groups for name in group))


class Tally(NamedTuple):
    """Counts of what is written."""

    counts: dict[int, int]
    known: dict[int, int]


def window_features(
    folder: Path, rows: RowSet, *, layout: Layout, target: TargetConfig, split: SplitConfig
) -> Made:
    """Write the steps of a long table once, the windows that read them, and their answers.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    keys = [name for name in (layout.entity, layout.time) if name]
    columns = unique(layout.raw_columns, target.columns, split_columns(split))
    with TemporaryDirectory(dir=folder) as held:
        averaged = target.column if target.kind in {"number", "forecast"} else None
        lined = lined_up(rows, layout, columns=columns, target=averaged, folder=Path(held))
        plan = plan_windows(lined, layout, split)
        line = Line(lined, layout, plan, target)
        keys = unique(keys, plan.columns, target.columns if target.kind == "forecast" else ())
        if not any(True for _ in training_rows(line, keys)):
            raise UnlearnableError(nothing_left("training", None, windowed=True))
        featurizer = fit_line(line, keys=keys, target=target)
        held_counts = Tally({}, {})
        written = write_windows(folder, line, featurizer, columns=columns, held=held_counts)
        steps, channels = write_steps(folder, written)
    require_splits(held_counts.known, reason=None, windowed=True)
    unseen = sum(held_counts.counts.values()) - sum(held_counts.known.values())
    return Made(featurizer, steps, channels, held_counts.counts, unseen, {}, {})


def write_windows(
    folder: Path, line: Line, featurizer: Featurizer, *, columns: list[str], held: Tally
) -> Iterator[NDArray[Any]]:
    """Write sequences and answers slice by slice, and give the steps."""
    writer: pq.ParquetWriter | None = None
    with GrowingFile(folder / "answers.npy") as answers:
        for part, windows in line.read(columns):
            sample = featurizer.transform_line(part.frame)
            table = window_table(part, windows, featurizer, sample)
            table, values_M = answered(table, part, featurizer, place=answers.count)
            answers.append(values_M)
            tally(table, held.counts, held.known)
            arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
            path = folder / "sequences.parquet"
            writer = writer or pq.ParquetWriter(path, arrow.schema, compression="zstd")
            writer.write_table(arrow)
            yield sample.steps.values_NC[windows.own]
    if writer is not None:
        writer.close()


def window_table(
    part: Slice, windows: Windows, featurizer: Featurizer, sample: Sample
) -> pl.DataFrame:
    """List the windows of a slice's own rows that can be used."""
    steps, frame, kind = sample.steps, part.frame, featurizer.target.kind
    long_enough = steps.stops_R[windows.own] > steps.starts_R[windows.own]
    used = np.flatnonzero((windows.splits_R != UNUSED) & long_enough)
    places, answers = used + part.first, windows.answer_R[used]
    if kind == "forecast":
        # Who may have learned from a window's answers is told by the first of them.
        answers = next_present(frame)[places + 1]
    shift = part.place - part.first
    return pl.DataFrame(
        {
            "row": frame[ROW].gather(places).cast(pl.Int64),
            "split": windows.splits_R[used],
            "start": steps.starts_R[places] + shift,
            "stop": steps.stops_R[places] + shift,
            "place": places,
            "answer_place": answers,
            "answer_row": frame[ROW].gather(answers).cast(pl.Int64),
            **side_columns(sample.statics.pick(places)),
        }
    )


def next_present(frame: pl.DataFrame) -> NDArray[np.int64]:
    """Find for each place the first one from there on that has a row."""
    count = len(frame)
    places = np.where(frame[ROW].is_not_null().to_numpy(), np.arange(count), count - 1)
    return np.asarray(np.minimum.accumulate(places[::-1])[::-1])


def answered(
    table: pl.DataFrame, part: Slice, featurizer: Featurizer, *, place: int
) -> tuple[pl.DataFrame, NDArray[np.float32]]:
    """Add the answers of a slice's windows, and give their numbers.

    A forecast's answers are the rows themselves, so windows share them.
    """
    target, frame, window = featurizer.target, part.frame, featurizer.layout.window
    ends, answers = table["place"].to_numpy(), table["answer_place"].to_numpy()
    plain = table.drop("place", "answer_place")
    if target.kind in MINED:
        none = Lists(np.empty(0, np.float32), np.zeros(len(table), np.int64))
        return with_answers(plain, none, target.kind, place=place), none.values_M
    if target.kind == "forecast":
        assert window is not None  # noqa: S101 - this is a table of windows
        own = np.arange(part.first, part.stop)
        values_M = target.encode(frame[target.column].gather(own), featurizer.entities(frame, own))
        first = pl.Series(ends + 1 + part.place - part.first, dtype=pl.Int64)
        known = pl.lit(value=True)
        return (
            plain.with_columns(answer_start=first, answer_stop=first + window.horizon, known=known),
            values_M,
        )
    column = frame[target.column].gather(answers)
    check_answers(column, frame[ROW].to_numpy()[answers], name=target.column)
    lists = target.encode_lists(column, featurizer.entities(frame, answers))
    plain = plain.with_columns(answer=column)
    return with_answers(plain, lists, target.kind, place=place), lists.values_M
