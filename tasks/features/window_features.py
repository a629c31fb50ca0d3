"""Features of a long table: a window ends at every row, and windows share their steps.

The table is read in the order of its series, slice by slice: once to fit, once to write. Memory
use does not grow with the rows.
Shapes: N steps, C channels, R rows of a slice with its context, K target columns, M target
numbers.
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
from models.features.config import SELF_SUPERVISED, Layout, TargetConfig
from models.features.featurizer import EncodedRows, Featurizer
from models.features.series import (
    ROW_COLUMN,
    SeriesState,
    compute_context,
    find_channel_scale,
    find_log_range,
    find_rows_ahead,
    fit_windows,
    index_series,
    scales_per_entity,
)
from models.features.splitting.split import TRAINING, UNUSED, SplitConfig, list_split_columns
from models.features.static_covariates import fit_static_covariates
from models.features.target import (
    Target,
    TargetLists,
    check_missing_targets,
    fit_target,
    join_targets,
    read_numbers,
)
from tasks.dataset.feature_files import NpyWriter, to_static_columns, write_steps
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_order import SeriesSlice, slice_series, sort_series
from tasks.features.sequence_table import (
    BuiltFeatures,
    add_targets,
    count_sequences,
    format_empty_split,
    require_splits,
)
from tasks.features.window_split import WindowSplit, split_windows


class _Windows(NamedTuple):
    """The windows of one slice's own rows."""

    own: slice
    target_R: NDArray[np.int64]
    """Index in the frame of each own row's (last) target; -1 where there is none."""
    splits_R: NDArray[np.int8]


class _SeriesReader(NamedTuple):
    """A table sorted by series and time, and how it is read."""

    rows: RowSet
    layout: Layout
    plan: WindowSplit
    target: TargetConfig

    def iter_slices(self, columns: list[str]) -> Iterator[tuple[SeriesSlice, _Windows]]:
        """Yield slices of these columns, each with its windows."""
        for part in slice_series(self.rows, columns, compute_context(self.layout)):
            yield part, self._find_windows(part)

    def _find_windows(self, part: SeriesSlice) -> _Windows:
        """Find the target row of each of a slice's own rows, and its split."""
        assert self.layout.window is not None  # noqa: S101 - this is a table of windows
        own, kind = slice(part.first, part.stop), self.target.kind
        ahead = 0 if kind in SELF_SUPERVISED else self.layout.window.horizon
        target_R = find_rows_ahead(index_series(part.frame, self.layout), ahead)[own]
        splits, targets = self.plan.assign_splits(part.frame), np.maximum(target_R, 0)
        # A bin of a resampled series without a row has no target, and no window ends there.
        present = part.frame[ROW_COLUMN].is_not_null().to_numpy()
        valid = (target_R >= 0) & present[own]
        if kind == "forecast":
            # All targets of a window belong to one split, and at least one of them is known.
            first = np.arange(part.first, part.stop) + 1
            first = np.minimum(first, len(splits) - 1)
            known = np.logical_or.reduce(
                [np.isfinite(read_numbers(part.frame[name])) for name in self.target.columns]
            )
            valid &= _has_one_value(splits, first, targets) & _has_any(known, first, targets)
        else:
            valid &= present[targets]
        return _Windows(own, target_R, np.where(valid, splits[targets], UNUSED).astype(np.int8))


def make_window_features(
    folder: Path, rows: RowSet, *, layout: Layout, target: TargetConfig, split: SplitConfig
) -> BuiltFeatures:
    """Write the steps of a long table once, the windows that refer to them, and their targets.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    keys = [name for name in (layout.entity, layout.time) if name]
    columns = _list_unique(layout.raw_columns, target.columns, list_split_columns(split))
    with TemporaryDirectory(dir=folder) as temporary_dir:
        averaged = target.columns if target.kind in {"number", "forecast"} else ()
        sorted_rows = sort_series(
            rows, layout, columns=columns, averaged=averaged, folder=Path(temporary_dir)
        )
        plan = split_windows(sorted_rows, layout, split)
        reader = _SeriesReader(sorted_rows, layout, plan, target)
        keys = _list_unique(keys, plan.columns, target.columns if target.kind == "forecast" else ())
        if not any(True for _ in _read_training_ends(reader, keys)):
            raise UnlearnableError(format_empty_split("training", None, windowed=True))
        featurizer = _fit_featurizer(reader, keys=keys, target=target)
        counts = _SequenceCounts({}, {})
        written = _write_windows(folder, reader, featurizer, columns=columns, counts=counts)
        steps, channels = write_steps(folder, written)
    require_splits(counts.known, reason=None, windowed=True)
    unseen = sum(counts.counts.values()) - sum(counts.known.values())
    return BuiltFeatures(featurizer, steps, channels, counts.counts, unseen, {}, {})


def _has_one_value(
    values: NDArray[np.int8], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return for each range, both ends included, whether all its values are the same."""
    changes = np.cumsum(np.diff(values, prepend=values[:1]) != 0)
    return np.asarray(changes[first] == changes[last])


def _has_any(
    mask: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return for each range, both ends included, whether any of its values is True."""
    counts = np.concatenate([[0], np.cumsum(mask)])
    return np.asarray(counts[last + 1] > counts[first])


def _read_training_ends(reader: _SeriesReader, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows at which training windows end."""
    for part, windows in reader.iter_slices(columns):
        chosen = windows.splits_R == TRAINING
        if chosen.any():
            yield part.frame[windows.own].filter(pl.Series(chosen))


def _read_training_targets(
    reader: _SeriesReader, columns: list[str], target: str
) -> Iterator[tuple[pl.Series, pl.Series | None]]:
    """Yield the targets of the training windows, and the entities that they belong to."""
    entity = reader.layout.entity
    for part, windows in reader.iter_slices(columns):
        rows = windows.target_R[windows.splits_R == TRAINING]
        if len(rows):
            targets = part.frame[target].gather(rows)
            yield targets, part.frame[entity].gather(rows) if entity else None


def _fit_featurizer(reader: _SeriesReader, *, keys: list[str], target: TargetConfig) -> Featurizer:
    """Fit the input, the static covariates and the target on the training windows."""
    layout = reader.layout
    training_frames = (
        (part.frame, np.flatnonzero(windows.splits_R == TRAINING) + part.first)
        for part, windows in reader.iter_slices(_list_unique(keys, layout.input.columns))
    )
    state = fit_windows(training_frames, layout)
    static_columns = [side.column for side in layout.static_inputs]
    statics = fit_static_covariates(
        _read_training_ends(reader, _list_unique(keys, static_columns)), layout.static_inputs
    )
    fitted = Target(column="", kind=target.kind)
    if target.columns:
        parts = [_fit_column(reader, replace(target, column=n), keys=keys) for n in target.columns]
        fitted = join_targets(_scale_target_as_channel(part, layout, state) for part in parts)
    return Featurizer(
        layout=layout,
        state=state,
        static_state=statics,
        target=fitted,
        split=reader.plan.split,
    )


def _fit_column(reader: _SeriesReader, target: TargetConfig, *, keys: list[str]) -> Target:
    """Fit the target of one column on the training windows."""
    targets = _read_training_targets(reader, _list_unique(keys, target.columns), target.name)
    per_entity = scales_per_entity(reader.layout)
    return fit_target(((t, names if per_entity else None) for t, names in targets), target)


def _scale_target_as_channel(target: Target, layout: Layout, state: Any) -> Target:  # noqa: ANN401 - of any kind
    """Scale a forecast's target as its own past, where that is one of the input's channels."""
    if target.kind != "forecast" or not isinstance(state, SeriesState):
        return target
    scale = find_channel_scale(layout, state, target.column)
    if scale is None:
        return target
    (mean, std), entities = scale
    log_range = find_log_range(layout, state, target.column)
    return replace(target, mean=mean, std=std, entities=entities, log_range=log_range)


def _list_unique(*groups: Iterable[str]) -> list[str]:
    """List each name once, in the order of its first occurrence."""
    return list(dict.fromkeys(name for group in groups for name in group))


class _SequenceCounts(NamedTuple):
    """Numbers of sequences that were written, by split."""

    counts: dict[int, int]
    known: dict[int, int]


def _write_windows(
    folder: Path,
    reader: _SeriesReader,
    featurizer: Featurizer,
    *,
    columns: list[str],
    counts: _SequenceCounts,
) -> Iterator[NDArray[Any]]:
    """Write sequences and targets slice by slice, and yield each slice's steps, shape (N, C)."""
    writer: pq.ParquetWriter | None = None
    with NpyWriter(folder / "targets.npy") as targets:
        for part, windows in reader.iter_slices(columns):
            sample = featurizer.transform_resampled(part.frame)
            table = _build_window_table(part, windows, featurizer, sample)
            table, values_M = _add_window_targets(table, part, featurizer, offset=targets.length)
            targets.append(values_M)
            count_sequences(table, counts.counts, counts.known)
            arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
            path = folder / "sequences.parquet"
            writer = writer or pq.ParquetWriter(path, arrow.schema, compression="zstd")
            writer.write_table(arrow)
            yield sample.steps.values_NC[windows.own]
    if writer is not None:
        writer.close()


def _build_window_table(
    part: SeriesSlice, windows: _Windows, featurizer: Featurizer, sample: EncodedRows
) -> pl.DataFrame:
    """List the usable windows of a slice's own rows, with their positions in the frame."""
    steps, frame, kind = sample.steps, part.frame, featurizer.target.kind
    long_enough = steps.stops_R[windows.own] > steps.starts_R[windows.own]
    used = np.flatnonzero((windows.splits_R != UNUSED) & long_enough)
    indices, targets = used + part.first, windows.target_R[used]
    if kind == "forecast":
        # Which windows a model was trained on is decided by the first of their targets.
        targets = _find_next_present(frame)[indices + 1]
    shift = part.offset - part.first
    return pl.DataFrame(
        {
            "row": frame[ROW_COLUMN].gather(indices).cast(pl.Int64),
            "split": windows.splits_R[used],
            "start": steps.starts_R[indices] + shift,
            "stop": steps.stops_R[indices] + shift,
            "index": indices,
            "target_index": targets,
            "target_row": frame[ROW_COLUMN].gather(targets).cast(pl.Int64),
            **to_static_columns(sample.static_covariates.select(indices)),
        }
    )


def _find_next_present(frame: pl.DataFrame) -> NDArray[np.int64]:
    """Find for each position of the frame the first one from there on that has a row."""
    count = len(frame)
    indices = np.where(frame[ROW_COLUMN].is_not_null().to_numpy(), np.arange(count), count - 1)
    return np.asarray(np.minimum.accumulate(indices[::-1])[::-1])


def _add_window_targets(
    table: pl.DataFrame, part: SeriesSlice, featurizer: Featurizer, *, offset: int
) -> tuple[pl.DataFrame, NDArray[np.float32]]:
    """Add the targets of a slice's windows; return the table and their numbers.

    A forecast's targets are the rows themselves, so windows share them. Of several columns they
    are written row by row, so that those of a window are step by step.

    Args:
        table: the windows, from `_build_window_table`.
        part: the slice.
        featurizer: with the fitted target.
        offset: number of target numbers that were written before these.

    Raises:
        UnlearnableError: a target is missing or not valid.
    """
    target, frame, window = featurizer.target, part.frame, featurizer.layout.window
    ends, targets = table["index"].to_numpy(), table["target_index"].to_numpy()
    plain = table.drop("index", "target_index")
    if target.kind in SELF_SUPERVISED:
        none = TargetLists(np.empty(0, np.float32), np.zeros(len(table), np.int64))
        return add_targets(plain, none, target.kind, offset=offset), none.values_M
    if target.kind == "forecast":
        assert window is not None  # noqa: S101 - this is a table of windows
        own = np.arange(part.first, part.stop)
        entities = featurizer.select_entities(frame, own)
        parts = target.list_parts()
        values_NK = np.stack(
            [each.encode(frame[each.column].gather(own), entities) for each in parts], axis=1
        )
        first = pl.Series((ends + 1 + part.offset - part.first) * len(parts), dtype=pl.Int64)
        stop, known = first + window.horizon * len(parts), pl.lit(value=True)
        if not target.parts:
            # By which errors of entities that are scaled apart count in the unit of the target.
            center, scale = target.get_scales(
                len(ends), featurizer.select_entities(frame, ends.astype(np.int64))
            )
            plain = plain.with_columns(center=pl.Series(center), scale=pl.Series(scale))
        if featurizer.layout.entity:
            names = frame[featurizer.layout.entity].gather(ends).cast(pl.String)
            plain = plain.with_columns(names.alias("series"))
        return (
            plain.with_columns(target_start=first, target_stop=stop, known=known),
            values_NK.reshape(-1),
        )
    column = frame[target.column].gather(targets)
    check_missing_targets(column, frame[ROW_COLUMN].to_numpy()[targets], name=target.column)
    lists = target.encode_lists(column, featurizer.select_entities(frame, targets))
    plain = plain.with_columns(target=column)
    return add_targets(plain, lists, target.kind, offset=offset), lists.values_M
