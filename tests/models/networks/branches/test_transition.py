"""The table of transitions: counted, shrunk, and read by the last known class."""

import numpy as np
import torch

from models.networks.branches.base import BranchSpec, SequenceBatch, make_empty_statics
from models.networks.branches.transition import TransitionBranch, _measure_left_out
from models.networks.jagged import Offsets

CHANNELS = (1, 2)


def build_windows(last: list[int | None], length: int = 3) -> SequenceBatch:
    """Windows whose last step has this class, and whose earlier steps have the other one."""
    values = torch.zeros(len(last) * length, 3)
    for row, label in enumerate(last):
        stop = (row + 1) * length
        values[stop - length : stop - 1, 1] = 1.0
        if label is not None:
            values[stop - 1, 1 + label] = 1.0
    bounds = np.arange(len(last) + 1) * length
    return SequenceBatch(values, Offsets(torch.from_numpy(bounds)), make_empty_statics(len(last)))


def fit_branch(last: list[int | None], following: list[int], classes: int = 2) -> TransitionBranch:
    branch = TransitionBranch(BranchSpec("category", classes), label_channels=CHANNELS)
    features = branch.compute_features(build_windows(last))
    branch.fit(features, np.array(following, np.float64)[:, None])
    return branch


def predict(branch: TransitionBranch, last: list[int | None]) -> np.ndarray:
    batch = build_windows(last)
    return branch(batch.values_NC, batch.offsets).exp().numpy()


def test_a_rule_without_exception_is_learned() -> None:
    branch = fit_branch([0, 1] * 200, [1, 0] * 200)

    probability = predict(branch, [0, 1])

    assert (probability.max(axis=1) > 0.99).all()
    assert probability.argmax(axis=1).tolist() == [1, 0]


def test_noise_gives_the_shares_of_the_classes() -> None:
    draw = np.random.default_rng(0)
    last, following = draw.integers(2, size=300), draw.integers(4, size=300) // 3

    probability = predict(fit_branch(last.tolist(), following.tolist()), [0, 1])

    np.testing.assert_allclose(probability[:, 1], following.mean(), atol=0.03)


def test_an_unknown_class_gives_the_shares_of_the_classes() -> None:
    probability = predict(fit_branch([0, 1] * 50, [0, 1] * 50, classes=3), [None])

    np.testing.assert_allclose(probability[0], [51 / 103, 51 / 103, 1 / 103], rtol=1e-5)


def test_probabilities_sum_to_one_and_none_is_zero() -> None:
    probability = predict(fit_branch([0, 1, None] * 5, [0, 1, 1] * 5, classes=3), [0, 1, None])

    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-5)
    assert (probability > 0).all()


def test_the_left_out_loss_is_that_of_tables_without_the_row() -> None:
    last, following = [0, 0, 0, 1, 1], [0, 0, 1, 1, 0]
    share_O = np.array([0.6, 0.4])
    count_KO = np.zeros((2, 2))
    np.add.at(count_KO, (last, following), 1)
    loss = 0.0
    for before, after in zip(last, following, strict=True):
        others = count_KO.copy()
        others[before, after] -= 1
        row = others[before] + 3.0 * share_O
        loss -= np.log(row[after] / row.sum())

    np.testing.assert_allclose(_measure_left_out(count_KO, share_O, 3.0), loss)


def test_a_saved_table_is_restored() -> None:
    branch = fit_branch([0, 1] * 50, [1, 0] * 50)
    other = TransitionBranch(BranchSpec("category", 2), label_channels=CHANNELS)

    other.restore(branch.state_dict())

    np.testing.assert_array_equal(predict(branch, [0, 1]), predict(other, [0, 1]))
