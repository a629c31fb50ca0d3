"""A split that the table itself says, in a column of names."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.splitting.split import (
    NAMES,
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    position_of,
)

MEANINGS = {
    **dict.fromkeys(("train", "training"), TRAINING),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "eval", "holdout"), TEST),
    "unused": UNUSED,
}


def split_by_column(
    values: pl.Series, hashes: NDArray[np.uint64], config: SplitConfig
) -> NDArray[np.int8]:
    """Read each row's split; without validation rows, take some of training by hash.

    Raises:
        UnlearnableError: names that say no split, or no rows to learn from or to test on.
    """
    codes = codes_of(values)
    if codes.null_count():
        odd = values.filter(codes.is_null()).unique(maintain_order=True)[:3].to_list()
        raise UnlearnableError(
            f"split.column: '{values.name}' holds {values.dtype} such as {odd}; expected "
            f"{', '.join(MEANINGS)}; write one of these names into every row upstream"
        )
    splits = codes.to_numpy().copy()
    for code in (TRAINING, TEST):
        if not (splits == code).any():
            raise UnlearnableError(
                f"split.column: '{values.name}' names no {NAMES[code]} rows; name some upstream, "
                "or remove split.column for a split by hash"
            )
    if not (splits == VALIDATION).any():
        splits[(splits == TRAINING) & (position_of(hashes) < config.validation)] = VALIDATION
    return splits


def codes_of(values: pl.Series) -> pl.Series:
    """Turn names into codes; null where a value names no split."""
    if not isinstance(values.dtype, (pl.String, pl.Categorical, pl.Enum)):
        return pl.Series(values.name, [None] * len(values), dtype=pl.Int8)
    names = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    return names.replace_strict(MEANINGS, default=None, return_dtype=pl.Int8)
