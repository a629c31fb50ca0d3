"""A split that a column of the table gives."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.splitting.split import (
    SPLIT_NAMES,
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    compute_positions,
)

SPLIT_CODES = {
    **dict.fromkeys(("train", "training"), TRAINING),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "eval", "holdout"), TEST),
    "unused": UNUSED,
}


def split_by_column(
    values: pl.Series, hashes: NDArray[np.uint64], config: SplitConfig
) -> NDArray[np.int8]:
    """Return the split of each row; without validation rows, some of training are taken by hash.

    Raises:
        UnlearnableError: a value is no name of a split, or no row is for training or for the test.
    """
    codes = parse_split_names(values)
    if codes.null_count():
        unknown = values.filter(codes.is_null()).unique(maintain_order=True)[:3].to_list()
        raise UnlearnableError(
            f"split.column: '{values.name}' holds {values.dtype} such as {unknown}; "
            f"expected {', '.join(SPLIT_CODES)}; write one of these names into every row upstream"
        )
    splits = codes.to_numpy().copy()
    for code in (TRAINING, TEST):
        if not (splits == code).any():
            raise UnlearnableError(
                f"split.column: '{values.name}' has no {SPLIT_NAMES[code]} rows; mark some "
                "upstream, or remove split.column for a split by hash"
            )
    if not (splits == VALIDATION).any():
        splits[(splits == TRAINING) & (compute_positions(hashes) < config.validation)] = VALIDATION
    return splits


def parse_split_names(values: pl.Series) -> pl.Series:
    """Return the code of each name of a split; null for any other value."""
    if not isinstance(values.dtype, (pl.String, pl.Categorical, pl.Enum)):
        return pl.Series(values.name, [None] * len(values), dtype=pl.Int8)
    names = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    return names.replace_strict(SPLIT_CODES, default=None, return_dtype=pl.Int8)
