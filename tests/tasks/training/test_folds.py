"""Folds: every row is held out once, equal sequences together, classes evenly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.folds import assign_folds


@given(
    hashes=st.lists(st.integers(0, 30), min_size=10, max_size=80),
    count=st.integers(2, 5),
    seed=st.integers(0, 5),
)
def test_equal_sequences_are_in_the_same_fold(hashes: list[int], count: int, seed: int) -> None:
    hash_S = np.array(hashes, np.uint64)

    fold_S = assign_folds(hash_S, None, count, seed=seed)

    assert all(len(set(fold_S[hash_S == value])) == 1 for value in hash_S)
    sizes = np.bincount(fold_S[np.unique(hash_S, return_index=True)[1]], minlength=count)
    assert sizes.max() - sizes.min() <= 1


@given(count=st.integers(2, 5), seed=st.integers(0, 5))
def test_every_fold_has_its_share_of_each_class(count: int, seed: int) -> None:
    classes = np.repeat([0, 1, 2], [40, 20, 10])

    fold_S = assign_folds(np.arange(70, dtype=np.uint64), classes, count, seed=seed)

    for code, rows in ((0, 40), (1, 20), (2, 10)):
        shares = np.bincount(fold_S[classes == code], minlength=count)
        assert shares.max() - shares.min() <= 1
        assert shares.sum() == rows


def test_folds_depend_on_the_content_and_the_seed_alone() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**60, 50).astype(np.uint64)
    order = np.random.default_rng(1).permutation(50)

    folds = assign_folds(hashes, None, 5, seed=3)

    assert (assign_folds(hashes[order], None, 5, seed=3) == folds[order]).all()
    assert (assign_folds(hashes, None, 5, seed=4) != folds).any()
