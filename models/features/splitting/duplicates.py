"""Rows whose input is in two splits: found by the hash of their content, not used in evaluation.

Shapes: R rows of the table.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import TEST, TRAINING, UNUSED, VALIDATION

_BLOCK_ROWS = 2**20
"""Rows that are looked up at a time."""

_NUM_PROBES = 4
"""Bits that are set for each row of a Bloom filter."""

_BITS_PER_ROW = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateCounts:
    """Numbers of rows that were removed from evaluation, and of rows with conflicting targets."""

    validation_in_training: int = 0
    """Validation rows whose input is also in training."""
    test_in_training: int = 0
    """Test rows whose input is also in training."""
    test_in_validation: int = 0
    """Test rows whose input is in validation, and not in training."""
    conflicting_targets: int = 0
    """Rows whose input is in the table with another target, too."""


class DeduplicatedSplits(NamedTuple):
    """Splits in which rows that are duplicates across splits are unused, and their numbers."""

    splits_R: NDArray[np.int8]
    counts: DuplicateCounts


def remove_duplicates(
    hashes_R: NDArray[np.uint64], splits_R: NDArray[np.int8], targets: pl.Series | None = None
) -> DeduplicatedSplits:
    """Mark evaluation rows as unused whose input is in training, or for the test in validation.

    Needs about 30 bytes of memory for each row beside its arguments, and 10 without targets.

    Args:
        hashes_R: hashes of the input columns alone, not of the row's id or group.
        splits_R: the split of each row; unused rows are ignored.
        targets: each row's target, if conflicts are to be counted.
    """
    in_training_R, in_validation_R = _mark_duplicates(hashes_R, splits_R)
    duplicate_R = in_training_R | in_validation_R
    counts = DuplicateCounts(
        validation_in_training=int((in_training_R & (splits_R == VALIDATION)).sum()),
        test_in_training=int((in_training_R & (splits_R == TEST)).sum()),
        test_in_validation=int((in_validation_R & ~in_training_R).sum()),
        conflicting_targets=0 if targets is None else _count_conflicts(hashes_R, splits_R, targets),
    )
    return DeduplicatedSplits(np.where(duplicate_R, np.int8(UNUSED), splits_R), counts)


def mark_known(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which of the wanted hashes are known; the known ones have to be in ascending order."""
    found = np.zeros(len(wanted), bool)
    for start in range(0, len(wanted) if len(known) else 0, _BLOCK_ROWS):
        # Sorted queries read the sorted table in the order of memory, which is faster.
        order = np.argsort(wanted[start : start + _BLOCK_ROWS])
        block = wanted[start : start + _BLOCK_ROWS][order]
        index = np.minimum(np.searchsorted(known, block), len(known) - 1)
        found[start : start + _BLOCK_ROWS][order] = known[index] == block
    return found


def build_bloom_filter(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return a Bloom filter (Bloom 1970) of hashes, about one byte for each.

    A hash that is in the filter is always found; of those that are not, one in 40 is found too.
    """
    bits = np.zeros(max(8, -(-len(hashes) * _BITS_PER_ROW // 8) * 8), bool)
    for probe in range(_NUM_PROBES):
        bits[_compute_bits(hashes, probe, len(bits))] = True
    return np.packbits(bits)


def query_bloom_filter(
    hashes: NDArray[np.uint64], bloom_filter: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Return which hashes are in a filter of `build_bloom_filter`, with 1 in 40 false positives."""
    found = np.ones(len(hashes), bool)
    for probe in range(_NUM_PROBES):
        bit = _compute_bits(hashes, probe, len(bloom_filter) * 8)
        found &= (bloom_filter[bit // 8] >> (7 - bit % 8).astype(np.uint8)) & 1 == 1
    return found


def _mark_duplicates(
    hashes_R: NDArray[np.uint64], splits_R: NDArray[np.int8]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which evaluation rows are in training, and which test rows are in validation."""
    in_training_R = np.zeros(len(splits_R), bool)
    in_validation_R = np.zeros(len(splits_R), bool)
    evaluation_R = splits_R == TEST
    validation = _sort_in_place(hashes_R[splits_R == VALIDATION])
    in_validation_R[evaluation_R] = mark_known(hashes_R[evaluation_R], validation)
    evaluation_R |= splits_R == VALIDATION
    training = _sort_in_place(hashes_R[splits_R == TRAINING])
    in_training_R[evaluation_R] = mark_known(hashes_R[evaluation_R], training)
    return in_training_R, in_validation_R


def _sort_in_place(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sort an array in place, and return it."""
    hashes.sort()
    return hashes


def _count_conflicts(
    hashes_R: NDArray[np.uint64], splits_R: NDArray[np.int8], targets: pl.Series
) -> int:
    """Count the used rows whose input is in another used row with another target."""
    used_R = (splits_R != UNUSED) & targets.is_not_null().to_numpy()
    used = _sort_in_place(hashes_R[used_R])
    repeated = used[1:][used[1:] == used[:-1]]
    rows = np.flatnonzero(used_R & mark_known(hashes_R, repeated))
    if len(rows) == 0:
        return 0
    order = np.argsort(hashes_R[rows])
    hash_N = hashes_R[rows][order]
    code_N = targets.gather(rows).rank("dense").to_numpy()[order]
    starts = np.flatnonzero(np.diff(hash_N, prepend=~hash_N[:1]) != 0)
    differ = np.minimum.reduceat(code_N, starts) != np.maximum.reduceat(code_N, starts)
    return int(np.diff(starts, append=len(hash_N))[differ].sum())


def _compute_bits(hashes: NDArray[np.uint64], probe: int, bits: int) -> NDArray[np.int64]:
    """Return the bit of each hash, from both of its halves (Kirsch and Mitzenmacher 2006)."""
    first, step = hashes >> np.uint64(32), hashes & np.uint64(0xFFFFFFFF) | np.uint64(1)
    return ((first + np.uint64(probe) * step) % np.uint64(bits)).astype(np.int64)
