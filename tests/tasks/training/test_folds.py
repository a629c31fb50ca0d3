"""Folds: every row is held out once, equal sequences together, classes evenly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.features.featurizer import load_featurizer
from tasks.storage.artifacts import local_dir
from tasks.training.folds import (
    assign_folds,
    build_folds,
    read_learning_table,
    read_training_row_numbers,
)
from tests.support.tuning_fixtures import make_trial_context


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


def test_no_network_learns_from_the_rows_that_it_is_held_out_from(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)
    features_dir = local_dir(context.store, context.features)
    featurizer, training = load_featurizer(features_dir), replace(context.base.training, folds=3)
    folds = build_folds(
        features_dir, featurizer, training, device=torch.device("cpu"), streaming=False
    )
    row_S = read_learning_table(features_dir, ["row"])["row"].to_numpy()

    for fold in range(3):
        member = replace(training, seed=training.seed + fold)
        learned = read_training_row_numbers(features_dir, member, fold=fold)
        assert not np.isin(row_S[folds.fold_S == fold], learned).any()
        assert len(learned) == (folds.fold_S != fold).sum()
