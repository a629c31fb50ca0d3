"""Splits of tables, as the featurize stage makes them."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl

from models.features.config import Layout, TargetConfig
from models.features.series import find_rows_ahead, index_series
from models.features.splitting.split import UNUSED, SplitConfig
from models.features.splitting.unseen_rows import SplitRecord
from tasks.dataset.rowset import RowSet
from tasks.features.row_split import split_rows
from tasks.features.window_split import split_windows


class TableSplit(NamedTuple):
    """Split and target row of each of R rows, and the split that assigned them."""

    splits_R: np.ndarray
    target_rows_R: np.ndarray
    split: SplitRecord


def split_table(
    frame: pl.DataFrame, layout: Layout, config: SplitConfig, target: str | None = None
) -> TableSplit:
    """Split a table as if it were in a store; duplicates are not removed."""
    config = replace(config, duplicates="keep")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        frame.write_parquet(path)
        rows = RowSet((path,), frame.schema)
        if layout.window is None:
            target_config = TargetConfig(column=target or frame.columns[-1], kind="category")
            row_split = split_rows(rows, layout, config, target=target_config)
            return TableSplit(row_split.splits_R, np.arange(len(frame)), row_split.split)
        window_split = split_windows(rows, layout, config)
        target_R = find_rows_ahead(index_series(frame, layout), layout.window.horizon)
        splits = window_split.assign_splits(frame)[np.maximum(target_R, 0)]
    return TableSplit(
        np.where(target_R >= 0, splits, np.int8(UNUSED)), target_R, window_split.split
    )
