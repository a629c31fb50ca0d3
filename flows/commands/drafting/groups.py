"""Rows that belong together, such as those of one patient: they must not straddle the splits."""

import polars as pl

from flows.commands.drafting.column_kinds import is_group
from flows.commands.drafting.draft import DraftOptions, JobDraft

_MIN_GROUPS = 10
"""Groups from which a split by them has some in every part."""


def add_group(draft: JobDraft, sample: pl.DataFrame, options: DraftOptions) -> None:
    """Set the group of the split: the given column, or one that is named like a group."""
    if draft.split is not None or draft.by_time:
        return
    free = [name for name in sample.columns if name not in draft.used_columns]
    names = [options.entity] if options.entity else [n for n in free if is_group(sample[n])]
    found = [name for name in names if sample[name].n_unique() >= _MIN_GROUPS]
    if not found:
        return
    draft.group = found[0]
    draft.comments["split"] = (
        f"rows of one '{found[0]}' stay in one split, so that a model is tested on new ones; "
        "remove it where rows are independent"
    )
