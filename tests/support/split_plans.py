"""Plans of tables, as the stages make them."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl

from models.features.config import Layout, TargetConfig
from models.features.series import line_up, row_ahead
from models.features.splitting.split import UNUSED, SplitConfig
from models.features.splitting.unseen_rows import Split
from tasks.dataset.rowset import RowSet
from tasks.features.row_split import plan_rows
from tasks.features.window_split import plan_windows


class Plan(NamedTuple):
    """Every row's split, its answer's row, and how the split was made."""

    splits_R: np.ndarray
    answer_R: np.ndarray
    split: Split


def make_plan(
    frame: pl.DataFrame, layout: Layout, config: SplitConfig, target: str | None = None
) -> Plan:
    """Plan a table as it would be planned when it lies in a store; equal rows are kept."""
    config = replace(config, duplicates="keep")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        frame.write_parquet(path)
        rows = RowSet((path,), frame.schema)
        if layout.window is None:
            answer = TargetConfig(column=target or frame.columns[-1], kind="category")
            made = plan_rows(rows, layout, config, target=answer)
            return Plan(made.splits_R, np.arange(len(frame)), made.split)
        plan = plan_windows(rows, layout, config)
        answer_R = row_ahead(line_up(frame, layout), layout.window.horizon)
        splits = plan.splits_of(frame)[np.maximum(answer_R, 0)]
    return Plan(np.where(answer_R >= 0, splits, np.int8(UNUSED)), answer_R, plan.split)
