"""The table of sequences: what both ways of making features end in."""

from typing import NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.config import Answer
from models.features.featurizer import Featurizer
from models.features.splitting.split import NAMES, TEST, TRAINING, VALIDATION
from models.features.target import Lists


class Made(NamedTuple):
    """What making features came to."""

    featurizer: Featurizer
    steps: int
    channels: int
    counts: dict[int, int]
    """Sequences of each split."""
    unseen: int
    """Sequences whose class training never showed."""
    reasons: dict[int, str]
    """Why a row could not be read, by its number."""
    duplicates: dict[str, int]
    """Rows that were taken out of the evaluation, by what they repeat."""


def with_answers(table: pl.DataFrame, lists: Lists, kind: Answer, *, place: int) -> pl.DataFrame:
    """Add where each answer lies, and whether training has shown it.

    Args:
        table: the sequences.
        lists: their answers.
        kind: of the target.
        place: numbers of answers that lie before these.
    """
    stops = place + np.cumsum(lists.lengths_R)
    known = lists.values_M >= 0 if kind == "category" else np.ones(len(table), bool)
    return table.with_columns(
        answer_start=pl.Series(stops - lists.lengths_R, dtype=pl.Int64),
        answer_stop=pl.Series(stops, dtype=pl.Int64),
        known=pl.Series(known),
    )


def require_splits(known: dict[int, int], *, reason: str | None, windowed: bool) -> None:
    """Refuse features that leave a split without a sequence.

    Raises:
        UnlearnableError: names the split and the mend.
    """
    for split in (TRAINING, VALIDATION, TEST):
        if not known.get(split):
            raise UnlearnableError(nothing_left(NAMES[split], reason, windowed=windowed))


def nothing_left(name: str, reason: str | None, *, windowed: bool) -> str:
    """Say why a split has no sequences."""
    hint = f" (the first row that cannot be used: {reason})" if reason else ""
    mend = "shorten window.lookback or window.horizon, or " if windowed else ""
    return f"the {name} split has no sequences{hint}; {mend}give more data, or change split"


def tally(table: pl.DataFrame, counts: dict[int, int], known: dict[int, int]) -> None:
    """Add a piece of the table to the sequences of each split, and to those of known classes."""
    for held, rows in ((counts, table), (known, table.filter("known"))):
        for split, count in rows.group_by("split").len().iter_rows():
            held[split] = held.get(split, 0) + count
