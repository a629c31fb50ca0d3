"""What is wrong with splits that have few rows, or not all of the classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from models.features.splitting.split import SPLIT_NAMES, TEST, TRAINING, VALIDATION
from models.features.target import Target, format_class
from tasks.facts import FeatureFacts

FEW_ROWS = 30
"""Sequences of a split below which its scores are mostly chance."""

_MAX_NAMED = 5


def list_absent_classes(folder: Path, target: Target) -> dict[str, tuple[str, ...]]:
    """List the classes of training without a row in the validation or the test split.

    Args:
        folder: with the sequences.
        target: whose classes they are.

    Returns:
        The classes by the name of the split; splits that have all of them are left out.
    """
    if target.kind != "category":
        return {}
    rows = pl.scan_parquet(folder / "sequences.parquet", glob=False).filter("known")
    found = rows.select("split", pl.col("target").cast(pl.String)).unique()
    pairs = set(found.collect(engine="streaming").iter_rows())
    names = [format_class(label) for label in target.classes]
    absent = {
        SPLIT_NAMES[split]: tuple(name for name in names if (split, name) not in pairs)
        for split in (VALIDATION, TEST)
    }
    return {split: classes for split, classes in absent.items() if classes}


def list_split_warnings(facts: FeatureFacts, *, in_folds: bool) -> list[str]:
    """List the splits that are too small, and the classes that they lack; empty for none.

    Args:
        facts: of the sequences.
        in_folds: whether rows are validated on in folds, and the validation split is not.
    """
    counts = {
        SPLIT_NAMES[TRAINING]: facts.training,
        SPLIT_NAMES[VALIDATION]: facts.validation,
        SPLIT_NAMES[TEST]: facts.test,
    }
    used = {name: count for name, count in counts.items() if _is_used(name, in_folds=in_folds)}
    warnings = [
        f"the {name} split has {count} rows only: {_WHY_FEW[name]}"
        for name, count in used.items()
        if count < FEW_ROWS
    ]
    for name, classes in facts.absent_classes.items():
        if _is_used(name, in_folds=in_folds):
            warnings.append(
                f"classes without a row in the {name} split: {_list_some(classes)}; how well they "
                "are predicted is unknown; set split.by: stratified, or give more rows"
            )
    return warnings


_WHY_FEW: Mapping[str, str] = {
    SPLIT_NAMES[TRAINING]: "what is learned from so few depends on chance; give more data",
    SPLIT_NAMES[VALIDATION]: "too few to choose the best epoch by; set training.folds: 5, or a "
    "larger split.validation",
    SPLIT_NAMES[TEST]: "differences between models are mostly chance there; give more data, or a "
    "larger split.test",
}


def _is_used(name: str, *, in_folds: bool) -> bool:
    """Whether a split of this name is used as such."""
    return name != SPLIT_NAMES[VALIDATION] or not in_folds


def _list_some(classes: Sequence[str]) -> str:
    """List the first classes, and how many there are besides."""
    others = len(classes) - _MAX_NAMED
    named = ", ".join(classes[:_MAX_NAMED])
    return f"{named} and {others} more" if others > 0 else named
