"""Rows that stand in two splits: found by their content's hash, and left out of evaluation.

Shapes: R rows of the table.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import TEST, TRAINING, UNUSED, VALIDATION

BLOCK = 2**20
"""Rows looked up at a time."""

PROBES = 4
"""Bits set for each remembered row."""

BITS_A_ROW = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Rows that were left out of evaluation, and rows that contradict each other."""

    validation_in_training: int = 0
    """Validation rows whose input also stands in training."""
    test_in_training: int = 0
    """Test rows whose input also stands in training."""
    test_in_validation: int = 0
    """Test rows whose input stands in validation, and not in training."""
    contradicting: int = 0
    """Rows whose input stands in the table with another answer, too."""


class Removed(NamedTuple):
    """The splits without what stands in two of them, and what was found."""

    splits_R: NDArray[np.int8]
    found: Duplicates


def remove_duplicates(
    hashes_R: NDArray[np.uint64], splits_R: NDArray[np.int8], answers: pl.Series | None = None
) -> Removed:
    """Leave out of evaluation what training shows, and out of the test what validation shows.

    Holds some 30 bytes a row beyond its arguments, and 10 without answers.

    Args:
        hashes_R: identities of the input columns alone, not of the row's id or group.
        splits_R: the split of each row; unused rows are not looked at.
        answers: each row's answer, where contradictions are to be counted.
    """
    in_training_R, in_validation_R = duplicates_across(hashes_R, splits_R)
    doubled_R = in_training_R | in_validation_R
    found = Duplicates(
        validation_in_training=int((in_training_R & (splits_R == VALIDATION)).sum()),
        test_in_training=int((in_training_R & (splits_R == TEST)).sum()),
        test_in_validation=int((in_validation_R & ~in_training_R).sum()),
        contradicting=0 if answers is None else contradictions(hashes_R, splits_R, answers),
    )
    return Removed(np.where(doubled_R, np.int8(UNUSED), splits_R), found)


def duplicates_across(
    hashes_R: NDArray[np.uint64], splits_R: NDArray[np.int8]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark what training has of validation and test, and what validation has of the test."""
    in_training_R = np.zeros(len(splits_R), bool)
    in_validation_R = np.zeros(len(splits_R), bool)
    judged_R = splits_R == TEST
    validation = ascending(hashes_R[splits_R == VALIDATION])
    in_validation_R[judged_R] = found_in(hashes_R[judged_R], validation)
    judged_R |= splits_R == VALIDATION
    training = ascending(hashes_R[splits_R == TRAINING])
    in_training_R[judged_R] = found_in(hashes_R[judged_R], training)
    return in_training_R, in_validation_R


def ascending(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sort in place what was copied for this."""
    hashes.sort()
    return hashes


def found_in(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mark what is wanted and known; what is known comes in ascending order."""
    found = np.zeros(len(wanted), bool)
    for start in range(0, len(wanted) if len(known) else 0, BLOCK):
        # Sorted questions meet the sorted table in the order of memory.
        order = np.argsort(wanted[start : start + BLOCK])
        block = wanted[start : start + BLOCK][order]
        place = np.minimum(np.searchsorted(known, block), len(known) - 1)
        found[start : start + BLOCK][order] = known[place] == block
    return found


def contradictions(
    hashes_R: NDArray[np.uint64], splits_R: NDArray[np.int8], answers: pl.Series
) -> int:
    """Count used rows whose input stands there with another answer, too."""
    used_R = (splits_R != UNUSED) & answers.is_not_null().to_numpy()
    used = ascending(hashes_R[used_R])
    repeated = used[1:][used[1:] == used[:-1]]
    rows = np.flatnonzero(used_R & found_in(hashes_R, repeated))
    if len(rows) == 0:
        return 0
    order = np.argsort(hashes_R[rows])
    hash_N = hashes_R[rows][order]
    code_N = answers.gather(rows).rank("dense").to_numpy()[order]
    starts = np.flatnonzero(np.diff(hash_N, prepend=~hash_N[:1]) != 0)
    differ = np.minimum.reduceat(code_N, starts) != np.maximum.reduceat(code_N, starts)
    return int(np.diff(starts, append=len(hash_N))[differ].sum())


def remember(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Write down what was seen in about a byte each, as a Bloom filter (Bloom 1970).

    What was seen is always found again; of what was not, one in forty seems to have been.
    """
    bits = np.zeros(max(8, -(-len(hashes) * BITS_A_ROW // 8) * 8), bool)
    for probe in range(PROBES):
        bits[bit_of(hashes, probe, len(bits))] = True
    return np.packbits(bits)


def stand_among(hashes: NDArray[np.uint64], remembered: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark what `remember` has seen, and a little more."""
    found = np.ones(len(hashes), bool)
    for probe in range(PROBES):
        bit = bit_of(hashes, probe, len(remembered) * 8)
        found &= (remembered[bit // 8] >> (7 - bit % 8).astype(np.uint8)) & 1 == 1
    return found


def bit_of(hashes: NDArray[np.uint64], probe: int, bits: int) -> NDArray[np.int64]:
    """Choose a bit by both halves of a hash (Kirsch and Mitzenmacher 2006)."""
    first, step = hashes >> np.uint64(32), hashes & np.uint64(0xFFFFFFFF) | np.uint64(1)
    return ((first + np.uint64(probe) * step) % np.uint64(bits)).astype(np.int64)
