"""A split by hash that has test and validation rows of every class.

A split that does not change as rows are added can only depend on the row itself; so each class has
its share only on average, and a small class may by chance have no test rows. Exact shares need
ranks, and ranks move rows from test to training as the data grows. Here every row that the hash
puts into the test stays there; a class with too few rows borrows the next ones by hash, until it
has nine tenths of its share. Only borrowed rows may go back as their class grows, and no model
counts them as unseen, so that a model is never evaluated on rows that it was trained on.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import (
    TEST,
    TRAINING,
    VALIDATION,
    SplitConfig,
    compute_positions,
)

_MIN_SHARE = 0.9
"""Part of its share below which a class borrows rows; large classes are practically never below."""

_MAX_BINS, _MIN_ROWS_PER_BIN = 10, 10


def assign_strata(targets: pl.Series, *, number: bool) -> NDArray[np.int64]:
    """Return the number of each row's class, or tenth of a number; missing ones are one more."""
    if not number:
        return targets.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    values = targets.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    finite = values[np.isfinite(values)]
    bins = max(1, min(_MAX_BINS, len(finite) // _MIN_ROWS_PER_BIN))
    edges = np.quantile(finite, np.arange(1, bins) / bins) if bins > 1 else np.empty(0)
    bin_R = np.searchsorted(edges, values, side="right")
    return np.where(np.isfinite(values), bin_R, bins).astype(np.int64)


def split_stratified(
    hashes: NDArray[np.uint64], strata: NDArray[np.int64], config: SplitConfig
) -> NDArray[np.int8]:
    """Return the split of each row by hash; a class with too few rows borrows the next ones.

    Equal rows of a class count once and stay in one split. A class of one or two rows is split by
    its hashes alone, and a larger one keeps at least one training row.
    """
    order = np.lexsort((hashes, strata))
    hash_N, stratum_N = hashes[order], strata[order]
    new_stratum_N = np.diff(stratum_N, prepend=stratum_N[:1] - 1) != 0
    new_row_N = new_stratum_N | (np.diff(hash_N, prepend=hash_N[:1]) != 0)
    class_N = np.cumsum(new_stratum_N) - 1
    rank_N = np.cumsum(new_row_N) - 1
    rank_N -= rank_N[new_stratum_N][class_N]
    position_D, class_D = compute_positions(hash_N[new_row_N]), class_N[new_row_N]
    test_K, evaluation_K = _count_evaluation_rows(position_D, class_D, config)
    splits = np.full(len(hashes), TRAINING, np.int8)
    splits[order[rank_N < evaluation_K[class_N]]] = VALIDATION
    splits[order[rank_N < test_K[class_N]]] = TEST
    return splits


def _count_evaluation_rows(
    position_D: NDArray[np.float64], class_D: NDArray[np.int64], config: SplitConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of test rows of each class, and of test and validation rows together."""
    rows_K = np.bincount(class_D)
    hashed_K = np.bincount(class_D[position_D < config.test], minlength=len(rows_K))
    both_shares = config.test + config.validation
    hashed_both_K = np.bincount(class_D[position_D < both_shares], minlength=len(rows_K))
    min_test_K = np.ceil(_MIN_SHARE * rows_K * config.test).astype(np.int64)
    min_validation_K = np.ceil(_MIN_SHARE * rows_K * config.validation).astype(np.int64)
    test_K = np.maximum(hashed_K, np.minimum(min_test_K, rows_K - 2))
    evaluation_K = np.maximum(hashed_both_K, test_K + min_validation_K)
    evaluation_K = np.minimum(evaluation_K, np.maximum(rows_K - 1, test_K))
    few_K = rows_K < 3
    return np.where(few_K, hashed_K, test_K), np.where(few_K, hashed_both_K, evaluation_K)
