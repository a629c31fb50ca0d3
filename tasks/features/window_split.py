"""Which window goes into which split: by the time of its answer, by whole series, or as told.

Shapes: R rows of a slice.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.splitting.column_split import codes_of, split_by_column
from models.features.splitting.duplicates import remember
from models.features.splitting.row_hash import identities
from models.features.splitting.split import (
    TRAINING,
    VALIDATION,
    SplitConfig,
    position_of,
    split_by_hash,
    split_by_time,
    way_of,
)
from models.features.splitting.unseen_rows import Split, types_of
from tasks.dataset.rowset import RowSet

Places = Callable[[pl.DataFrame], NDArray[np.int8]]


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """How the rows of a long table are placed."""

    split: Split
    columns: tuple[str, ...]
    """Columns that are read for it."""
    splits_of: Places
    """Gives the split of each row's answer, if a window asks for it."""


def plan_windows(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowPlan:
    """Decide how windows are placed.

    Raises:
        UnlearnableError: the data does not allow the split that is asked for.
    """
    by = way_of(config, windows=True)
    if by == "time":
        return by_time(rows, layout, config)
    if by == "column":
        return by_column(rows, layout, config)
    if by == "stratified" or config.id:
        asked = "id" if config.id else "by: stratified"
        raise UnlearnableError(
            f"split.{asked} places rows one by one, and windows of a series overlap; "
            "set split.by: time, or hash with source.entity"
        )
    return by_series(rows, layout, config)


def time_points(rows: RowSet, layout: Layout) -> pl.Series:
    """List the distinct points in time, in order."""
    assert layout.time is not None  # noqa: S101 - windows need a time
    times = rows.scan().select(pl.col(layout.time).unique().sort())
    return times.collect(engine="streaming").to_series()


def by_time(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowPlan:
    """Let the answers of the newest times be the test."""
    time = layout.time or ""
    points = time_points(rows, layout)
    splits, cuts = split_by_time(points, config)
    split = Split(config=config, by="time", test_from=cuts.test, time_type=str(points.dtype))
    return WindowPlan(split, (time,), lambda frame: splits[points.search_sorted(frame[time])])


def by_series(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowPlan:
    """Place whole series, or groups of them.

    Raises:
        UnlearnableError: there is one series, or a group changes within one.
    """
    group = config.group or layout.entity
    if group is None:
        raise UnlearnableError(
            "split.by: 'hash' would let overlapping windows stand on both sides; "
            "set split.by: time, or source.entity for a table of several series"
        )
    names = distinct(rows, [layout.entity or group, group])
    if len(names) > (names[layout.entity].n_unique() if layout.entity else 1):
        raise UnlearnableError(
            f"split.group: column '{group}' changes within a series, so that windows would stand "
            "on both sides; choose a column that keeps whole series together"
        )
    groups = names.select(group).unique(maintain_order=True)
    splits = split_by_hash(identities(groups, [group]), config)
    split = Split(config=config, by="hash", columns=(group,), types=types_of(rows.schema, [group]))
    return WindowPlan(split, (group,), placed_by(groups[group], splits))


def distinct(rows: RowSet, columns: list[str]) -> pl.DataFrame:
    """List the distinct values of columns."""
    chosen = list(dict.fromkeys(columns))
    return rows.scan().select(chosen).unique().sort(chosen).collect(engine="streaming")


def placed_by(names: pl.Series, splits: NDArray[np.int8]) -> Places:
    """Place each row as its name is placed."""
    known = pl.DataFrame({names.name: names, "\0split": splits})

    def places(frame: pl.DataFrame) -> NDArray[np.int8]:
        wanted = frame.select(names.name)
        found = wanted.join(
            known, on=names.name, how="left", maintain_order="left", nulls_equal=True
        )
        return np.asarray(found["\0split"].to_numpy())

    return places


def told(rows: RowSet, keys: list[str], config: SplitConfig) -> Split:
    """Write down which times of which series are learned from."""
    column, learned = config.column or "", []
    for frame in rows.frames([*keys, column]):
        codes = codes_of(frame[column])
        chosen = frame.filter(codes.is_in([TRAINING, VALIDATION]))
        learned.append(identities(chosen, keys))
    return Split(
        config=config,
        by="column",
        columns=tuple(keys),
        types=types_of(rows.schema, keys),
        learned=remember(np.concatenate(learned)),
    )


def by_column(rows: RowSet, layout: Layout, config: SplitConfig) -> WindowPlan:
    """Place windows as the row of their answer says; without validation, take whole series.

    A table of one series, or of so few that the hash chooses none, gives the newest times of its
    training instead.
    """
    column, entity, time = config.column or "", layout.entity, layout.time or ""
    says = distinct(rows, [column])[column]
    # Refuses names that say no split, and splits that nothing is said of.
    split_by_column(says, np.full(len(says), 2**64 - 1, np.uint64), config)
    validated = codes_of(says).is_in([VALIDATION]).any()
    split = told(rows, [name for name in (entity, time) if name], config)
    columns = tuple(name for name in (column, entity, time) if name)
    if validated:
        return WindowPlan(split, columns, lambda frame: codes_of(frame[column]).to_numpy())
    held_out = some_series(rows, entity, config) or newest_times(rows, says, layout, config)

    def places(frame: pl.DataFrame) -> NDArray[np.int8]:
        codes = codes_of(frame[column]).to_numpy()
        moved = (codes == TRAINING) & (held_out(frame) == 1)
        return np.asarray(np.where(moved, np.int8(VALIDATION), codes))

    return WindowPlan(split, columns, places)


def some_series(rows: RowSet, entity: str | None, config: SplitConfig) -> Places | None:
    """Mark a share of the series, by hash; nothing where that leaves none or takes all."""
    if entity is None:
        return None
    names = distinct(rows, [entity])
    chosen = position_of(identities(names, [entity])) < config.validation
    if not chosen.any() or chosen.all():
        return None
    return placed_by(names[entity], chosen.astype(np.int8))


def newest_times(rows: RowSet, says: pl.Series, layout: Layout, config: SplitConfig) -> Places:
    """Mark a share of the points in time of training, the newest."""
    column, time = config.column or "", layout.time or ""
    training = rows.scan().filter(pl.col(column).is_in(says.filter(codes_of(says) == TRAINING)))
    times = training.select(pl.col(time).unique().sort()).collect(engine="streaming").to_series()
    since = times[-max(1, round(len(times) * config.validation))]
    return lambda frame: np.asarray((frame[time] >= since).to_numpy(), np.int8)
