"""The plan of a table: which row goes into which split, and where each row's answer stands.

Shapes: R rows of the table.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features import Layout, WindowConfig
from models.features.featurizer import Split
from models.features.series import line_up, row_ahead
from models.features.split import (
    UNUSED,
    SplitConfig,
    TimeCuts,
    identities,
    split_by_hash,
    split_by_time,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Every row's split, its answer's row, and how the split was made."""

    splits_R: NDArray[np.int8]
    answer_R: NDArray[np.int64]
    """Row that holds the answer of each row; -1 where there is none."""
    split: Split


def make_plan(rows: pl.LazyFrame, layout: Layout, config: SplitConfig) -> Plan:
    """Decide the split of every row.

    Raises:
        UnlearnableError: the data does not allow the split that is asked for.
    """
    by = config.by if config.by != "auto" else ("time" if layout.window else "hash")
    if layout.window:
        return plan_windows(rows, layout, layout.window, config=config, by=by)
    count = int(rows.select(pl.len()).collect().item())
    if by == "time":
        time = time_column(layout)
        times = rows.select(time).collect().to_series()
        splits, cuts = split_by_time(times, config)
        return Plan(splits, np.arange(count), timed(config, cuts, times))
    columns = [config.group] if config.group else list(layout.input.columns)
    hashes = np.concatenate(
        [identities(frame, columns) for frame in rows.select(columns).collect_batches()]
    )
    split = Split(config=config, by=by, columns=tuple(columns))
    return Plan(split_by_hash(hashes, config), np.arange(count), split)


def plan_windows(
    rows: pl.LazyFrame, layout: Layout, window: WindowConfig, *, config: SplitConfig, by: str
) -> Plan:
    """Split windows by the time of their answer, or by whole series."""
    keys = [name for name in (layout.entity, layout.time, config.group) if name]
    frame = rows.select(list(dict.fromkeys(keys))).collect(engine="streaming")
    answer_R = row_ahead(line_up(frame, layout), window.horizon)
    if by == "time":
        times = frame[time_column(layout)]
        splits, cuts = split_by_time(times, config)
        split = timed(config, cuts, times)
    else:
        group = config.group or layout.entity
        if group is None:
            raise UnlearnableError(
                "split.by: 'hash' would let overlapping windows stand on both sides; "
                "set split.by: time, or source.entity for a table of several series"
            )
        refuse_cut_series(frame, layout, group)
        splits = split_by_hash(identities(frame, [group]), config)
        split = Split(config=config, by=by, columns=(group,))
    of_answer = np.where(answer_R >= 0, splits[np.maximum(answer_R, 0)], UNUSED).astype(np.int8)
    return Plan(of_answer, answer_R, split)


def timed(config: SplitConfig, cuts: TimeCuts, times: pl.Series) -> Split:
    """Describe a split by time."""
    return Split(config=config, by="time", test_from=cuts.test, time_type=str(times.dtype))


def refuse_cut_series(frame: pl.DataFrame, layout: Layout, group: str) -> None:
    """Refuse a group that changes within a series, for windows would stand on both sides."""
    groups = frame.select(list(dict.fromkeys([layout.entity or group, group]))).unique()
    if len(groups) > (frame[layout.entity].n_unique() if layout.entity else 1):
        raise UnlearnableError(
            f"split.group: column '{group}' changes within a series, so that windows would stand "
            "on both sides; choose a column that keeps whole series together"
        )


def time_column(layout: Layout) -> str:
    """Name the time column.

    Raises:
        UnlearnableError: the job names none.
    """
    if layout.time is None:
        raise UnlearnableError(
            "a split by time needs the column that holds it; set source.time, or split.by: hash"
        )
    return layout.time
