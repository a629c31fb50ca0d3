"""Features of tables whose rows are sequences of their own: texts, images, sounds, trees, lists.

Two passes over the rows, one to fit on those of the training split, one to transform all of
them; beside the frame at hand, some twenty bytes a row are held.
Shapes: R rows, S sequences.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import Featurizer
from models.features.kinds import KINDS
from models.features.splitting.split import TRAINING, UNUSED, SplitConfig
from models.features.static_covariates import Statics, fit_statics
from models.features.target import Lists, Target, check_answers, fit_target
from tasks.dataset.feature_files import side_columns, write_answers, write_steps
from tasks.dataset.rowset import RowSet
from tasks.features.row_split import RowPlan, plan_rows
from tasks.features.sequence_table import Made, nothing_left, require_splits, tally, with_answers


class Rows(NamedTuple):
    """What transforming left of each row."""

    lengths_R: NDArray[np.int64]
    """0 where the row could not be read."""
    statics: Statics
    reasons: dict[int, str]
    """Why a row could not be read."""
    steps: int
    channels: int


def training_frames(
    rows: RowSet, columns: list[str], splits_R: NDArray[Any]
) -> Iterator[pl.DataFrame]:
    """Read the rows of the training split, in order."""
    seen = 0
    for frame in rows.frames(columns):
        chosen = splits_R[seen : seen + len(frame)] == TRAINING
        seen += len(frame)
        if chosen.any():
            yield frame.filter(pl.Series(chosen))


def fit_rows(rows: RowSet, plan: RowPlan, layout: Layout, target: TargetConfig) -> Featurizer:
    """Fit all but the target, which depends on the rows that can be read."""
    kind = KINDS[layout.input.kind]
    state = kind.fit(training_frames(rows, [*layout.input.columns], plan.splits_R), layout)
    sides = list(dict.fromkeys(side.column for side in layout.statics))
    statics = fit_statics(training_frames(rows, sides, plan.splits_R), layout.statics)
    return Featurizer(
        layout=layout,
        state=state,
        statics=statics,
        target=Target(column=target.column, kind=target.kind),
        split=plan.split,
    )


def small(frames: Iterable[pl.DataFrame], most: int) -> Iterator[pl.DataFrame]:
    """Cut frames whose rows take much more memory once they are read."""
    for frame in frames:
        yield from frame.iter_slices(most)


def transform_rows(rows: RowSet, featurizer: Featurizer, folder: Path) -> Rows:
    """Write the steps of every row."""
    lengths: list[NDArray[np.int64]] = []
    statics: list[Statics] = []
    reasons: dict[int, str] = {}

    def chunks() -> Iterator[NDArray[Any]]:
        seen = 0
        for frame in small(rows.frames(featurizer.layout.raw_columns), featurizer.rows_at_once):
            sample = featurizer.transform(frame)
            lengths.append(sample.steps.stops_R - sample.steps.starts_R)
            statics.append(sample.statics)
            bad = ((row, error) for row, error in enumerate(sample.steps.errors_R) if error)
            reasons.update((seen + row, error) for row, error in bad)
            seen += len(frame)
            yield sample.steps.values_NC

    steps, channels = write_steps(folder, chunks())
    return Rows(
        np.concatenate(lengths) if lengths else np.empty(0, np.int64),
        Statics(*(np.concatenate(parts) for parts in zip(*statics, strict=True))),
        reasons,
        steps,
        channels,
    )


def list_rows(rows: RowSet, found: Rows, plan: RowPlan, *, target: TargetConfig) -> pl.DataFrame:
    """List the sequences that can be used, with their answers where there are any.

    Raises:
        UnlearnableError: an answer is missing.
    """
    kept = np.flatnonzero((plan.splits_R != UNUSED) & (found.lengths_R > 0))
    answers = {}
    if target.column:
        column = rows.scan().select(target.column).collect().to_series()
        used = np.flatnonzero(plan.splits_R != UNUSED)
        check_answers(column.gather(used), used, name=target.column)
        answers["answer"] = column.gather(kept)
    stops_R = np.cumsum(found.lengths_R)
    return pl.DataFrame(
        {
            "row": kept,
            "split": plan.splits_R[kept],
            "start": stops_R[kept] - found.lengths_R[kept],
            "stop": stops_R[kept],
            "answer_row": kept,
            **answers,
            **side_columns(found.statics.pick(kept)),
        }
    )


def fit_answers(
    table: pl.DataFrame, unfitted: Featurizer, target: TargetConfig, *, reason: str | None
) -> tuple[Featurizer, Lists]:
    """Fit the target on the training rows, and encode the answers of all.

    Raises:
        UnlearnableError: there are none, or nothing can be learned from them.
    """
    training = table.filter(pl.col("split") == TRAINING)
    if training.is_empty():
        raise UnlearnableError(nothing_left("training", reason, windowed=False))
    if not target.column:
        return unfitted, Lists(np.empty(0, np.float32), np.zeros(len(table), np.int64))
    fitted = fit_target([(training["answer"], None)], target)
    return replace(unfitted, target=fitted), fitted.encode_lists(table["answer"])


def row_features(
    folder: Path, rows: RowSet, *, layout: Layout, target: TargetConfig, split: SplitConfig
) -> Made:
    """Write steps, sequences and answers of rows that are sequences of their own.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    plan = plan_rows(rows, layout, split, target=target)
    unfitted = fit_rows(rows, plan, layout, target)
    found = transform_rows(rows, unfitted, folder)
    reason = next(iter(found.reasons.values()), None)
    table = list_rows(rows, found, plan, target=target)
    featurizer, lists = fit_answers(table, unfitted, target, reason=reason)
    table = with_answers(table, lists, target.kind, place=0)
    counts: dict[int, int] = {}
    known: dict[int, int] = {}
    tally(table, counts, known)
    require_splits(known, reason=reason, windowed=False)
    write_answers(folder, lists.values_M)
    table.write_parquet(folder / "sequences.parquet", compression="zstd")
    return Made(
        featurizer=featurizer,
        steps=found.steps,
        channels=found.channels,
        counts=counts,
        unseen=sum(counts.values()) - sum(known.values()),
        reasons=found.reasons,
        duplicates=plan.duplicates,
    )
