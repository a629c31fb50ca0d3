"""N-grams and a linear model: what is read, what is learned, and that it survives a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.networks.branches.base import BranchSpec, SequenceBatch, make_empty_statics
from models.networks.branches.ngrams import NgramBranch
from models.networks.jagged import Offsets

WORDS = ["", "sun", "rain", "wind", "sunny", "rainy", "the", "day"]
TEXTS = [[6, 1, 7], [6, 4, 7], [1, 7], [4, 7], [6, 2, 7], [6, 5, 7], [2, 7], [5, 7]] * 4
SUNNY = np.array([0, 0, 0, 0, 1, 1, 1, 1] * 4)


def detokenize(ids: np.ndarray) -> str:
    return " ".join(WORDS[index] for index in ids)


def batch_texts(texts: list[list[int]]) -> SequenceBatch:
    ids = torch.tensor([index for text in texts for index in text])[:, None]
    offsets = Offsets.from_lengths([len(text) for text in texts])
    return SequenceBatch(ids, offsets, make_empty_statics(len(texts)))


def fit(kind: str, outputs: int, targets: np.ndarray) -> NgramBranch:
    branch = NgramBranch(BranchSpec(kind, outputs), detokenize, inverse_penalty=10.0)
    batch = batch_texts(TEXTS)
    branch.fit_features([batch])
    branch.fit(branch.compute_features(batch), targets)
    return branch


def test_classes_are_predicted_from_words_and_characters() -> None:
    branch = fit("category", 3, SUNNY[:, None].astype(float))

    logits = branch(*batch_texts([[3, 1], [3, 5]]))

    assert logits.argmax(dim=1).tolist() == [0, 1]
    assert (logits[:, 2] < logits[:, :2].min(dim=1).values).all()


def test_each_label_has_a_regression_of_its_own() -> None:
    targets = np.stack([SUNNY, 1 - SUNNY, np.ones_like(SUNNY)], axis=1).astype(float)
    branch = fit("tags", 3, targets)

    logits = branch(*batch_texts([[1], [2]]))

    assert (logits > 0).tolist() == [[False, True, True], [True, False, True]]


def test_numbers_are_predicted_by_ridge_regression() -> None:
    branch = fit("number", 1, SUNNY[:, None] * 4.0 - 2)

    low, high = branch(*batch_texts([[6, 1, 7], [6, 2, 7]]))[:, 0].tolist()

    assert low < -1 < 1 < high


def test_a_saved_branch_predicts_the_same(tmp_path: Path) -> None:
    branch = fit("category", 2, SUNNY[:, None].astype(float))
    save_file(branch.state_dict(), tmp_path / "branch.safetensors")
    loaded = NgramBranch(BranchSpec("category", 2), detokenize, inverse_penalty=10.0)

    loaded.restore(load_file(tmp_path / "branch.safetensors"))

    batch = batch_texts([[6, 4], [3], [2, 2, 2]])
    assert torch.equal(loaded(*batch), branch(*batch))


@pytest.mark.parametrize("texts", [[[3]], [[0]]])
def test_a_text_without_known_ngrams_gets_finite_logits(texts: list[list[int]]) -> None:
    branch = fit("category", 2, SUNNY[:, None].astype(float))

    assert branch(*batch_texts(texts)).isfinite().all()
