"""Duplicates: what evaluation shares with training is found, counted and left out."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from models.features.splitting.duplicates import (
    Duplicates,
    remember,
    remove_duplicates,
    stand_among,
)
from models.features.splitting.split import TEST, TRAINING, UNUSED, VALIDATION, identities

tables = st.lists(
    st.tuples(
        st.integers(0, 15),
        st.sampled_from([TRAINING, VALIDATION, TEST, UNUSED]),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=60,
)


def columns_of(table) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    frame = pl.DataFrame(table, schema=["x", "split", "answer"], orient="row").cast(
        {"x": pl.Int64, "split": pl.Int8, "answer": pl.String}
    )
    return identities(frame, ["x"]), frame["split"].to_numpy(), frame["answer"]


@given(tables)
def test_afterwards_no_evaluation_row_stands_in_what_was_learned_from(table) -> None:
    hashes, splits, answers = columns_of(table)

    after = remove_duplicates(hashes, splits, answers).splits_R

    held = {split: set(hashes[after == split].tolist()) for split in (TRAINING, VALIDATION, TEST)}
    assert not held[TRAINING] & held[VALIDATION]
    assert not held[TRAINING] & held[TEST]
    assert not held[VALIDATION] & held[TEST]


@given(tables)
def test_nothing_else_is_left_out_and_the_counts_say_what_was(table) -> None:
    hashes, splits, answers = columns_of(table)
    content = {
        split: {x for x, there, _ in table if there == split} for split in (TRAINING, VALIDATION)
    }

    after, found = remove_duplicates(hashes, splits, answers)

    in_training = [(split, x in content[TRAINING]) for x, split, _ in table]
    in_validation = [split == TEST and x in content[VALIDATION] for x, split, _ in table]
    expected = [
        UNUSED if (split in {VALIDATION, TEST} and learned) or decided else split
        for (split, learned), decided in zip(in_training, in_validation, strict=True)
    ]
    assert after.tolist() == expected
    assert found.validation_in_training == in_training.count((VALIDATION, True))
    assert found.test_in_training == in_training.count((TEST, True))
    assert found.test_in_validation == sum(
        decided and not learned
        for (_, learned), decided in zip(in_training, in_validation, strict=True)
    )


@given(tables)
def test_rows_that_contradict_each_other_are_counted(table) -> None:
    hashes, splits, answers = columns_of(table)

    found = remove_duplicates(hashes, splits, answers).found

    said: dict[int, set] = {}
    known = [(x, answer) for x, split, answer in table if split != UNUSED and answer]
    for x, answer in known:
        said.setdefault(x, set()).add(answer)
    assert found.contradicting == sum(len(said[x]) > 1 for x, _ in known)


def test_a_table_without_duplicates_stays_as_it_is() -> None:
    hashes = np.arange(100, dtype=np.uint64)
    splits = (np.arange(100) % 4).astype(np.int8)

    after, found = remove_duplicates(hashes, splits, pl.Series(np.arange(100.0)))

    assert after.tolist() == splits.tolist()
    assert after.dtype == np.int8
    assert found == Duplicates()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_what_was_seen_is_always_remembered(hashes: list[int]) -> None:
    seen = np.array(hashes, np.uint64)

    assert stand_among(seen, remember(seen)).all()


def test_few_rows_only_seem_to_have_been_seen_and_each_costs_a_byte() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)

    remembered = remember(hashes[:50_000])

    assert remembered.nbytes == 50_000
    assert stand_among(hashes[50_000:], remembered).mean() < 0.03
    assert not stand_among(hashes, remember(hashes[:0])).any()
