"""The table of sequences, and the counts of its splits: the result of building features."""

from typing import NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.config import TargetKind
from models.features.featurizer import Featurizer
from models.features.splitting.split import SPLIT_NAMES, TEST, TRAINING, VALIDATION
from models.features.target import TargetLists


class BuiltFeatures(NamedTuple):
    """The result of building features, besides the files."""

    featurizer: Featurizer
    steps: int
    channels: int
    counts: dict[int, int]
    """Sequences of each split."""
    unseen_classes: int
    """Sequences whose class does not occur in training."""
    reasons: dict[int, str]
    """Why a row could not be read, by its number."""
    duplicates: dict[str, int]
    """Numbers of rows that were removed from the evaluation, by what they repeat."""


def add_targets(
    table: pl.DataFrame, lists: TargetLists, kind: TargetKind, *, offset: int
) -> pl.DataFrame:
    """Add the range of each target in `targets.npy`, and whether its class occurs in training.

    Args:
        table: the sequences.
        lists: the numbers of their targets.
        kind: of the target.
        offset: number of target numbers that were written before these.
    """
    stops = offset + np.cumsum(lists.lengths_R)
    known = lists.values_M >= 0 if kind == "category" else np.ones(len(table), bool)
    return table.with_columns(
        target_start=pl.Series(stops - lists.lengths_R, dtype=pl.Int64),
        target_stop=pl.Series(stops, dtype=pl.Int64),
        known=pl.Series(known),
    )


def require_splits(known: dict[int, int], *, reason: str | None, windowed: bool) -> None:
    """Check that every split has a sequence.

    Raises:
        UnlearnableError: names the split, and how to fix it.
    """
    for split in (TRAINING, VALIDATION, TEST):
        if not known.get(split):
            raise UnlearnableError(
                format_empty_split(SPLIT_NAMES[split], reason, windowed=windowed)
            )


def format_empty_split(name: str, reason: str | None, *, windowed: bool) -> str:
    """Format the error about a split without sequences."""
    hint = f" (the first row that cannot be used: {reason})" if reason else ""
    fix = "shorten window.lookback or window.horizon, or " if windowed else ""
    return f"the {name} split has no sequences{hint}; {fix}give more data, or change split"


def count_sequences(table: pl.DataFrame, counts: dict[int, int], known: dict[int, int]) -> None:
    """Add the sequences of a table to the counts by split, of all and of those of known classes."""
    for totals, rows in ((counts, table), (known, table.filter("known"))):
        for split, count in rows.group_by("split").len().iter_rows():
            totals[split] = totals.get(split, 0) + count
