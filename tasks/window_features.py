"""Features of a long table: a window ends at every row, and its steps are shared.

The table is read in the order of its series, slice by slice: once to fit, once to write. What is
held does not grow with the rows.
Shapes: N steps, R rows of a slice with its context.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features import Layout, TargetConfig
from models.features.featurizer import Featurizer, Sample
from models.features.series import (
    ROW,
    context,
    fit_windows,
    line_up,
    row_ahead,
    scales_entities,
)
from models.features.split import TRAINING, UNUSED, SplitConfig, split_columns
from models.features.statics import fit_statics
from models.features.target import check_answers, fit_target
from tasks.features_files import side_columns, write_steps
from tasks.lines import Slice, lined_up, slices
from tasks.rows import RowSet
from tasks.sequences import Made, nothing_left, require_splits, tally, with_target
from tasks.window_plan import WindowPlan, plan_windows


class Windows(NamedTuple):
    """The windows of one slice's own rows."""

    own: slice
    answer_R: NDArray[np.int64]
    """Place in the frame of each own row's answer; -1 where there is none."""
    splits_R: NDArray[np.int8]


def windows_of(part: Slice, plan: WindowPlan, layout: Layout) -> Windows:
    """Find the answer of each of a slice's rows, and its split."""
    assert layout.window is not None  # noqa: S101 - this is a table of windows
    own = slice(part.first, part.stop)
    answer_R = row_ahead(line_up(part.frame, layout), layout.window.horizon)[own]
    splits, answers = plan.splits_of(part.frame), np.maximum(answer_R, 0)
    # A bin of a resampled series that has no row has no answer, and nobody asks at its end.
    present = part.frame[ROW].is_not_null().to_numpy()
    asked = (answer_R >= 0) & present[answers] & present[own]
    return Windows(own, answer_R, np.where(asked, splits[answers], UNUSED).astype(np.int8))


class Line(NamedTuple):
    """A lined up table and how it is read."""

    rows: RowSet
    layout: Layout
    plan: WindowPlan

    def read(self, columns: list[str]) -> Iterator[tuple[Slice, Windows]]:
        """Read slices of these columns, each with its windows."""
        for part in slices(self.rows, columns, context(self.layout)):
            yield part, windows_of(part, self.plan, self.layout)


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
    answers = training_answers(line, unique(keys, [target.column]), target.column)
    own = scales_entities(layout)
    fitted = fit_target(((a, names if own else None) for a, names in answers), target)
    return Featurizer(
        layout=layout, state=state, statics=statics, target=fitted, split=line.plan.split
    )


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
    """Write the steps of a long table once, and the windows that read them.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    keys = [name for name in (layout.entity, layout.time) if name]
    columns = unique(layout.raw_columns, [target.column], split_columns(split))
    with TemporaryDirectory(dir=folder) as held:
        averaged = target.column if target.kind == "number" else None
        lined = lined_up(rows, layout, columns=columns, target=averaged, folder=Path(held))
        plan = plan_windows(lined, layout, split)
        line = Line(lined, layout, plan)
        keys = unique(keys, plan.columns)
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
    """Write the sequences slice by slice, and give the steps."""
    writer: pq.ParquetWriter | None = None
    for part, windows in line.read(columns):
        sample = featurizer.transform_line(part.frame)
        table = window_table(part, windows, featurizer, sample)
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
    steps, frame = sample.steps, part.frame
    long_enough = steps.stops_R[windows.own] > steps.starts_R[windows.own]
    used = np.flatnonzero((windows.splits_R != UNUSED) & long_enough)
    places, answers = used + part.first, windows.answer_R[used]
    target = featurizer.target.column
    numbers = frame[ROW].to_numpy()
    check_answers(frame[target].gather(answers), numbers[answers], name=target)
    shift = part.place - part.first
    table = pl.DataFrame(
        {
            "row": frame[ROW].gather(places).cast(pl.Int64),
            "split": windows.splits_R[used],
            "start": steps.starts_R[places] + shift,
            "stop": steps.stops_R[places] + shift,
            "answer_row": frame[ROW].gather(answers).cast(pl.Int64),
            "answer": frame[target].gather(answers),
            **side_columns(sample.statics.pick(places)),
        }
    )
    return with_target(table, featurizer, featurizer.entities(frame, answers))
