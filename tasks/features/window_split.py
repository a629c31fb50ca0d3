"""Which window goes into which split: by the time of its target, by whole series, or by a column.

Shapes: R rows of a slice.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series.scaler import MIN_STEPS
from models.features.splitting.column_split import parse_split_names, split_by_column
from models.features.splitting.duplicates import build_bloom_filter
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import (
    TEST,
    TRAINING,
    VALIDATION,
    SplitConfig,
    choose_split_method,
    compute_positions,
    split_by_hash,
    split_by_time,
)
from models.features.splitting.unseen_rows import SplitRecord, format_column_types
from tasks.dataset.rowset import RowSet

_CONTINUED_SHARE = 0.5
"""Part of the test's series that are in training too, above which the test continues these."""

_AssignSplits = Callable[[pl.DataFrame], NDArray[np.int8]]


@dataclass(frozen=True, slots=True)
class WindowSplit:
    """How the rows of a long table are assigned to splits."""

    split: SplitRecord
    columns: tuple[str, ...]
    """Columns that `assign_splits` reads."""
    assign_splits: _AssignSplits
    """Returns the split of each row of a frame, as the target of a window."""


def split_windows(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowSplit:
    """Decide how windows are assigned to splits.

    Raises:
        UnlearnableError: the data does not allow the configured split.
    """
    by = choose_split_method(config, windows=True)
    if by == "time":
        return _split_by_time(rows, layout, config)
    if by == "column":
        return _split_by_column(rows, layout, config)
    if by == "stratified" or config.id:
        setting = "id" if config.id else "by: stratified"
        raise UnlearnableError(
            f"split.{setting} assigns rows one by one, and windows of a series overlap; "
            "set split.by: time, or hash with source.entity"
        )
    return _split_by_series(rows, layout, config)


def _list_time_points(rows: RowSet, layout: Layout) -> pl.Series:
    """List the distinct points in time, in order."""
    assert layout.time is not None  # noqa: S101 - windows need a time
    times = rows.scan().select(pl.col(layout.time).unique().sort())
    return times.collect(engine="streaming").to_series()


def _split_by_time(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowSplit:
    """Assign the windows with the newest targets to the test split."""
    time = layout.time or ""
    points = _list_time_points(rows, layout)
    splits, cuts = split_by_time(points, config)
    split = SplitRecord(config=config, by="time", test_from=cuts.test, time_type=str(points.dtype))
    return WindowSplit(split, (time,), lambda frame: splits[points.search_sorted(frame[time])])


def _split_by_series(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowSplit:
    """Assign whole series, or groups of them, by hash.

    Raises:
        UnlearnableError: there is one series, or a group changes within one.
    """
    group = config.group or layout.entity
    if group is None:
        raise UnlearnableError(
            "split.by: 'hash' would put overlapping windows into both training and test; "
            "set split.by: time, or source.entity for a table of several series"
        )
    names = _read_distinct(rows, [layout.entity or group, group])
    if len(names) > (names[layout.entity].n_unique() if layout.entity else 1):
        raise UnlearnableError(
            f"split.group: column '{group}' changes within a series, so that overlapping windows "
            "would be in both training and test; choose a column that keeps whole series together"
        )
    groups = names.select(group).unique(maintain_order=True)
    splits = split_by_hash(hash_frame_rows(groups, [group]), config)
    split = SplitRecord(
        config=config, by="hash", columns=(group,), types=format_column_types(rows.schema, [group])
    )
    return WindowSplit(split, (group,), _assign_by_name(groups[group], splits))


def _read_distinct(rows: RowSet, columns: list[str]) -> pl.DataFrame:
    """Read the distinct combinations of values of some columns, sorted."""
    chosen = list(dict.fromkeys(columns))
    return rows.scan().select(chosen).unique().sort(chosen).collect(engine="streaming")


def _assign_by_name(names: pl.Series, splits: NDArray[np.int8]) -> _AssignSplits:
    """Return a function that assigns each row to the split of its name."""
    known = pl.DataFrame({names.name: names, "\0split": splits})

    def assign(frame: pl.DataFrame) -> NDArray[np.int8]:
        wanted = frame.select(names.name)
        found = wanted.join(
            known, on=names.name, how="left", maintain_order="left", nulls_equal=True
        )
        return np.asarray(found["\0split"].to_numpy())

    return assign


def _record_training_rows(rows: RowSet, keys: list[str], config: SplitConfig) -> SplitRecord:
    """Record which times of which series are used for training or validation."""
    column, hashes = config.column or "", []
    for frame in rows.iter_frames([*keys, column]):
        codes = parse_split_names(frame[column])
        fitted = frame.filter(codes.is_in([TRAINING, VALIDATION]))
        hashes.append(hash_frame_rows(fitted, keys))
    return SplitRecord(
        config=config,
        by="column",
        columns=tuple(keys),
        types=format_column_types(rows.schema, keys),
        learned=build_bloom_filter(np.concatenate(hashes)),
    )


def _split_by_column(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowSplit:
    """Assign windows by a column of their target row.

    Without validation, that is made of what the test is: of the newest rows of each series where
    the test continues the series of training, else of whole series. In a table of one series, or of
    few series of which the hash selects none, it is the newest times of training.
    """
    column, entity, time = config.column or "", layout.entity, layout.time or ""
    names = _read_distinct(rows, [column])[column]
    # Raises where a value names no split, or a split has no rows.
    split_by_column(names, np.full(len(names), 2**64 - 1, np.uint64), config)
    has_validation = parse_split_names(names).is_in([VALIDATION]).any()
    split = _record_training_rows(rows, [name for name in (entity, time) if name], config)
    columns = tuple(name for name in (column, entity, time) if name)
    if has_validation:
        return WindowSplit(
            split, columns, lambda frame: parse_split_names(frame[column]).to_numpy()
        )
    mark_validation = (
        _mark_newest_of_series(rows, names, layout, config)
        or _mark_series(rows, entity, config)
        or _mark_newest_times(rows, names, layout, config)
    )

    def assign(frame: pl.DataFrame) -> NDArray[np.int8]:
        codes = parse_split_names(frame[column]).to_numpy()
        moved = (codes == TRAINING) & (mark_validation(frame) == 1)
        return np.asarray(np.where(moved, np.int8(VALIDATION), codes))

    return WindowSplit(split, columns, assign)


def _mark_newest_of_series(
    rows: RowSet, names: pl.Series, layout: Layout, config: SplitConfig
) -> _AssignSplits | None:
    """Mark the newest share of each series, and at least a horizon, where the test continues them.

    A series keeps enough rows for some training windows, else none of it is marked. None where most
    series of the test are not in training.
    """
    entity, time, column, window = layout.entity, layout.time or "", config.column, layout.window
    if entity is None or column is None or window is None:
        return None
    by_split = parse_split_names(names)
    training, test = (
        rows.scan().filter(pl.col(column).is_in(names.filter(by_split == split).implode()))
        for split in (TRAINING, TEST)
    )
    tested = test.select(pl.col(entity).unique())
    is_known = pl.col(entity).is_in(
        training.select(pl.col(entity).unique()).collect().to_series().implode()
    )
    if not tested.select(is_known.mean() > _CONTINUED_SHARE).collect().item():
        return None
    count = pl.max_horizontal((pl.len() * config.validation).round(), window.horizon)
    fits = pl.len() - count >= window.lookback + window.horizon + MIN_STEPS
    index = pl.when(fits).then(pl.len() - count).cast(pl.Int64)
    since = (
        training.group_by(entity).agg(pl.col(time).sort().get(index, null_on_oob=True)).collect()
    ).rename({time: "\0since"})
    if since["\0since"].null_count() == len(since):
        return None

    def mark(frame: pl.DataFrame) -> NDArray[np.int8]:
        found = frame.select(entity, time).join(
            since, on=entity, how="left", maintain_order="left", nulls_equal=True
        )
        is_newest = (found[time] >= found["\0since"]).fill_null(value=False)
        return np.asarray(is_newest.to_numpy(), np.int8)

    return mark


def _mark_series(rows: RowSet, entity: str | None, config: SplitConfig) -> _AssignSplits | None:
    """Mark a share of the series, by hash; None where that selects none or all of them."""
    if entity is None:
        return None
    names = _read_distinct(rows, [entity])
    chosen = compute_positions(hash_frame_rows(names, [entity])) < config.validation
    if not chosen.any() or chosen.all():
        return None
    return _assign_by_name(names[entity], chosen.astype(np.int8))


def _mark_newest_times(
    rows: RowSet, names: pl.Series, layout: Layout, config: SplitConfig
) -> _AssignSplits:
    """Mark the newest share of the times of training."""
    column, time = config.column or "", layout.time or ""
    training = rows.scan().filter(
        pl.col(column).is_in(names.filter(parse_split_names(names) == TRAINING))
    )
    times = training.select(pl.col(time).unique().sort()).collect(engine="streaming").to_series()
    since = times[-max(1, round(len(times) * config.validation))]
    return lambda frame: np.asarray((frame[time] >= since).to_numpy(), np.int8)
