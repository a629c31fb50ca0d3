"""Duplicates: rows that evaluation shares with training are found, counted and dropped."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from models.features.splitting.duplicates import (
    DuplicateCounts,
    build_bloom_filter,
    query_bloom_filter,
    remove_duplicates,
)
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import TEST, TRAINING, UNUSED, VALIDATION

tables = st.lists(
    st.tuples(
        st.integers(0, 15),
        st.sampled_from([TRAINING, VALIDATION, TEST, UNUSED]),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=60,
)


def columns_of(table) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    frame = pl.DataFrame(table, schema=["x", "split", "target"], orient="row").cast(
        {"x": pl.Int64, "split": pl.Int8, "target": pl.String}
    )
    return hash_frame_rows(frame, ["x"]), frame["split"].to_numpy(), frame["target"]


@given(tables)
def test_afterwards_no_evaluation_row_is_among_the_training_rows(table) -> None:
    hashes, splits, targets = columns_of(table)

    after = remove_duplicates(hashes, splits, targets).splits_R

    hashes_by_split = {
        split: set(hashes[after == split].tolist()) for split in (TRAINING, VALIDATION, TEST)
    }
    assert not hashes_by_split[TRAINING] & hashes_by_split[VALIDATION]
    assert not hashes_by_split[TRAINING] & hashes_by_split[TEST]
    assert not hashes_by_split[VALIDATION] & hashes_by_split[TEST]


@given(tables)
def test_no_other_rows_are_dropped_and_the_counts_are_right(table) -> None:
    hashes, splits, targets = columns_of(table)
    content = {
        split: {x for x, there, _ in table if there == split} for split in (TRAINING, VALIDATION)
    }

    after, result = remove_duplicates(hashes, splits, targets)

    in_training = [(split, x in content[TRAINING]) for x, split, _ in table]
    in_validation = [split == TEST and x in content[VALIDATION] for x, split, _ in table]
    expected = [
        UNUSED if (split in {VALIDATION, TEST} and earlier) or decided else split
        for (split, earlier), decided in zip(in_training, in_validation, strict=True)
    ]
    assert after.tolist() == expected
    assert result.validation_in_training == in_training.count((VALIDATION, True))
    assert result.test_in_training == in_training.count((TEST, True))
    assert result.test_in_validation == sum(
        decided and not earlier
        for (_, earlier), decided in zip(in_training, in_validation, strict=True)
    )


@given(tables)
def test_rows_that_contradict_each_other_are_counted(table) -> None:
    hashes, splits, targets = columns_of(table)

    result = remove_duplicates(hashes, splits, targets).counts

    targets_by_hash: dict[int, set] = {}
    known = [(x, target) for x, split, target in table if split != UNUSED and target]
    for x, target in known:
        targets_by_hash.setdefault(x, set()).add(target)
    assert result.conflicting_targets == sum(len(targets_by_hash[x]) > 1 for x, _ in known)


def test_a_table_without_duplicates_is_not_changed() -> None:
    hashes = np.arange(100, dtype=np.uint64)
    splits = (np.arange(100) % 4).astype(np.int8)

    after, result = remove_duplicates(hashes, splits, pl.Series(np.arange(100.0)))

    assert after.tolist() == splits.tolist()
    assert after.dtype == np.int8
    assert result == DuplicateCounts()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_a_row_that_was_added_is_always_found(hashes: list[int]) -> None:
    added = np.array(hashes, np.uint64)

    assert query_bloom_filter(added, build_bloom_filter(added)).all()


def test_false_positives_are_rare_and_each_row_takes_a_byte() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)

    bloom_filter = build_bloom_filter(hashes[:50_000])

    assert bloom_filter.nbytes == 50_000
    assert query_bloom_filter(hashes[50_000:], bloom_filter).mean() < 0.03
    assert not query_bloom_filter(hashes, build_bloom_filter(hashes[:0])).any()
