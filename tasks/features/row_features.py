"""Features of tables whose rows are sequences of their own: texts, images, sounds, trees, lists.

Two passes over the rows: one to fit on those of the training split, one to transform all of them.
Memory use: one frame, and about twenty bytes a row.
Shapes: R rows, S sequences, N steps, C channels, K and F categories and numbers of static
covariates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import Featurizer
from models.features.kinds import KINDS
from models.features.row_bounds import drop_oversized_rows
from models.features.splitting.split import TRAINING, UNLABELLED, UNUSED, SplitConfig
from models.features.static_covariates import StaticCovariates, fit_static_covariates
from models.features.target import Target, TargetLists, check_missing_targets, fit_target
from tasks.dataset.feature_files import to_static_columns, write_steps, write_targets
from tasks.dataset.rowset import RowSet
from tasks.features.row_split import RowSplit, split_rows
from tasks.features.sequence_table import (
    BuiltFeatures,
    add_targets,
    count_sequences,
    format_empty_split,
    require_splits,
)


class _TransformedRows(NamedTuple):
    """What is known of each row after its steps are written."""

    lengths_R: NDArray[np.int64]
    """0 where the row could not be read."""
    statics: StaticCovariates
    reasons: dict[int, str]
    """Why a row could not be read."""
    steps: int
    channels: int


def make_row_features(
    folder: Path,
    rows: RowSet,
    *,
    layout: Layout,
    target: TargetConfig,
    split: SplitConfig,
    keep_unlabelled: bool = False,
) -> BuiltFeatures:
    """Write steps, sequences and targets of rows that are sequences of their own.

    With `keep_unlabelled`, a training row without a target is kept, for pretraining alone.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    plan = split_rows(rows, layout, split, target=target, keep_unlabelled=keep_unlabelled)
    unfitted = _fit_featurizer(rows, plan, layout, target)
    transformed = _transform_rows(rows, unfitted, folder)
    reason = _describe_first_reason(transformed.reasons, layout)
    table = _build_sequence_table(rows, transformed, plan, target=target)
    featurizer, lists = _fit_targets(table, unfitted, target, reason=reason)
    table = add_targets(table, lists, target.kind, offset=0)
    table = table.with_columns(pl.col("known") | (pl.col("split") == UNLABELLED))
    counts: dict[int, int] = {}
    known: dict[int, int] = {}
    count_sequences(table, counts, known)
    require_splits(known, reason=reason, windowed=False)
    write_targets(folder, lists.values_M)
    table.write_parquet(folder / "sequences.parquet", compression="zstd")
    return BuiltFeatures(
        featurizer=featurizer,
        steps=transformed.steps,
        channels=transformed.channels,
        counts=counts,
        unseen_classes=sum(counts.values()) - sum(known.values()),
        reasons=transformed.reasons,
        duplicates=plan.duplicates,
    )


@dataclass(frozen=True, slots=True)
class _TrainingFrames:
    """The rows of the training split, with or without a target, in order, as often as wanted."""

    rows: RowSet
    columns: list[str]
    splits_R: NDArray[Any]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield frames of the rows whose cells are within the bounds."""
        seen = 0
        for frame in self.rows.iter_frames(self.columns):
            chosen = np.isin(self.splits_R[seen : seen + len(frame)], (TRAINING, UNLABELLED))
            seen += len(frame)
            if chosen.any():
                yield drop_oversized_rows(frame.filter(pl.Series(chosen)), self.columns)


def _fit_featurizer(
    rows: RowSet, plan: RowSplit, layout: Layout, target: TargetConfig
) -> Featurizer:
    """Fit input and static covariates; the target depends on which rows can be read."""
    kind = KINDS[layout.input.kind]
    state = kind.fit(_TrainingFrames(rows, [*layout.input.columns], plan.splits_R), layout)
    columns = list(dict.fromkeys(side.column for side in layout.static_inputs))
    statics = fit_static_covariates(
        _TrainingFrames(rows, columns, plan.splits_R), layout.static_inputs
    )
    return Featurizer(
        layout=layout,
        state=state,
        static_state=statics,
        target=Target(column=target.name, kind=target.kind),
        split=plan.split,
    )


def _describe_first_reason(reasons: dict[int, str], layout: Layout) -> str | None:
    """Say why the first unusable row is one, and in which column; None where all are usable."""
    reason = next(iter(reasons.values()), None)
    names = ", ".join(f"'{name}'" for name in layout.input.columns)
    return None if reason is None else f"column {names}: {reason}"


def _slice_frames(frames: Iterable[pl.DataFrame], max_rows: int) -> Iterator[pl.DataFrame]:
    """Cut frames into slices of at most `max_rows`: decoded rows take much more memory."""
    for frame in frames:
        yield from frame.iter_slices(max_rows)


def _transform_rows(rows: RowSet, featurizer: Featurizer, folder: Path) -> _TransformedRows:
    """Write the steps of every row to `steps.npy`, and return the rest."""
    lengths: list[NDArray[np.int64]] = []
    statics: list[StaticCovariates] = []
    reasons: dict[int, str] = {}

    def chunks() -> Iterator[NDArray[Any]]:
        seen = 0
        for frame in _slice_frames(
            rows.iter_frames(featurizer.layout.raw_columns), featurizer.max_rows
        ):
            sample = featurizer.transform(frame)
            lengths.append(sample.steps.stops_R - sample.steps.starts_R)
            statics.append(sample.static_covariates)
            bad = ((row, error) for row, error in enumerate(sample.steps.errors_R) if error)
            reasons.update((seen + row, error) for row, error in bad)
            seen += len(frame)
            yield sample.steps.values_NC

    steps, channels = write_steps(folder, chunks())
    return _TransformedRows(
        np.concatenate(lengths) if lengths else np.empty(0, np.int64),
        StaticCovariates(*(np.concatenate(parts) for parts in zip(*statics, strict=True))),
        reasons,
        steps,
        channels,
    )


def _build_sequence_table(
    rows: RowSet, transformed: _TransformedRows, plan: RowSplit, *, target: TargetConfig
) -> pl.DataFrame:
    """List the usable sequences, with their targets where there is a target column.

    Raises:
        UnlearnableError: a target is missing.
    """
    usable = np.flatnonzero((plan.splits_R != UNUSED) & (transformed.lengths_R > 0))
    targets = {}
    if target.name:
        column = rows.scan().select(target.name).collect().to_series()
        assigned = np.flatnonzero((plan.splits_R != UNUSED) & (plan.splits_R != UNLABELLED))
        check_missing_targets(column.gather(assigned), assigned, name=target.name)
        targets["target"] = column.gather(usable)
    stops_R = np.cumsum(transformed.lengths_R)
    return pl.DataFrame(
        {
            "row": usable,
            "split": plan.splits_R[usable],
            "start": stops_R[usable] - transformed.lengths_R[usable],
            "stop": stops_R[usable],
            "target_row": usable,
            **targets,
            **to_static_columns(transformed.statics.select(usable)),
        }
    )


def _fit_targets(
    table: pl.DataFrame, unfitted: Featurizer, target: TargetConfig, *, reason: str | None
) -> tuple[Featurizer, TargetLists]:
    """Fit the target on the training rows, and encode the targets of all rows.

    Raises:
        UnlearnableError: there are no training rows, or nothing can be learned from them.
    """
    training = table.filter(pl.col("split") == TRAINING)
    if training.is_empty():
        raise UnlearnableError(format_empty_split("training", reason, windowed=False))
    if not target.name:
        return unfitted, TargetLists(np.empty(0, np.float32), np.zeros(len(table), np.int64))
    fitted = fit_target([(training["target"], None)], target)
    return replace(unfitted, target=fitted), fitted.encode_lists(table["target"])
