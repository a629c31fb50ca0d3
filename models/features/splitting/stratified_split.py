"""A split by hash in which no class is left short.

A split that is the same in every company of rows can only look at the row itself; so its shares
hold for each class in the mean, and luck may leave a small class without a test. Exact shares need
ranks, and ranks move rows from test to training as the data grows. Here every row that the hash
keeps for the test stays in the test for ever; a class that luck left short borrows the next rows by
hash until it has nine tenths of its share. Borrowed rows alone may go back as their class grows,
and no model counts them as never learned from, so that a model is never judged on what it has seen.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import TEST, TRAINING, VALIDATION, SplitConfig, position_of

ENOUGH = 0.9
"""Part of its share below which a class borrows; large classes then never do."""

BINS, ROWS_A_BIN = 10, 10


def strata_of(answers: pl.Series, *, number: bool) -> NDArray[np.int64]:
    """Return each class a number, and each tenth of a number target; gaps are a class, too."""
    if not number:
        return answers.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    values = answers.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    finite = values[np.isfinite(values)]
    bins = max(1, min(BINS, len(finite) // ROWS_A_BIN))
    edges = np.quantile(finite, np.arange(1, bins) / bins) if bins > 1 else np.empty(0)
    inside = np.searchsorted(edges, values, side="right")
    return np.where(np.isfinite(values), inside, bins).astype(np.int64)


def split_stratified(
    hashes: NDArray[np.uint64], strata: NDArray[np.int64], config: SplitConfig
) -> NDArray[np.int8]:
    """Place rows by hash; a class that is short borrows the rows next to the cut.

    Equal rows of a class count once and stay together. A class of one or two rows is left as the
    hash has it, and a larger one is never left without a row to learn from by borrowing.
    """
    order = np.lexsort((hashes, strata))
    hash_N, stratum_N = hashes[order], strata[order]
    new_stratum_N = np.diff(stratum_N, prepend=stratum_N[:1] - 1) != 0
    new_row_N = new_stratum_N | (np.diff(hash_N, prepend=hash_N[:1]) != 0)
    class_N = np.cumsum(new_stratum_N) - 1
    place_N = np.cumsum(new_row_N) - 1
    place_N -= place_N[new_stratum_N][class_N]
    position_D, class_D = position_of(hash_N[new_row_N]), class_N[new_row_N]
    tests_K, learned_from_K = edges_of(position_D, class_D, config)
    splits = np.full(len(hashes), TRAINING, np.int8)
    splits[order[place_N < learned_from_K[class_N]]] = VALIDATION
    splits[order[place_N < tests_K[class_N]]] = TEST
    return splits


def edges_of(
    position_D: NDArray[np.float64], class_D: NDArray[np.int64], config: SplitConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the rows of each class that are test, and those that are test or validation."""
    rows_K = np.bincount(class_D)
    hashed_K = np.bincount(class_D[position_D < config.test], minlength=len(rows_K))
    both = config.test + config.validation
    hashed_both_K = np.bincount(class_D[position_D < both], minlength=len(rows_K))
    test_K = np.ceil(ENOUGH * rows_K * config.test).astype(np.int64)
    validation_K = np.ceil(ENOUGH * rows_K * config.validation).astype(np.int64)
    edge_K = np.maximum(hashed_K, np.minimum(test_K, rows_K - 2))
    second_K = np.maximum(hashed_both_K, edge_K + validation_K)
    second_K = np.minimum(second_K, np.maximum(rows_K - 1, edge_K))
    few_K = rows_K < 3
    return np.where(few_K, hashed_K, edge_K), np.where(few_K, hashed_both_K, second_K)
