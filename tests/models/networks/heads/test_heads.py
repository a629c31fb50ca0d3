"""Heads: each loss agrees with its definition, and the settings have the documented effect."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from models.networks.heads.base import Encoded, Head, Targets
from models.networks.heads.category import CategoryHead
from models.networks.heads.config import HeadConfig
from models.networks.heads.number import NumberHead
from models.networks.heads.outputs import MIN_STD, build_output
from models.networks.jagged import Offsets


def encoded(rows: int, width: int = 5) -> Encoded:
    draw = torch.Generator().manual_seed(0)
    pooled = torch.randn(rows, width, generator=draw, dtype=torch.float32)
    return Encoded(pooled, pooled, Offsets.from_lengths([1] * rows))


def single(values: list[float]) -> Targets:
    return Targets(torch.tensor(values), np.ones(len(values), np.int64))


def build_head(head: type[Head], *args: object, seed: int = 1) -> Head:
    torch.manual_seed(seed)
    return head(*args)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=9))
def test_a_category_s_loss_is_the_cross_entropy(codes: list[int]) -> None:
    head, read = build_head(CategoryHead, 5, 3, HeadConfig()), encoded(len(codes))

    loss = head.loss(read, single(codes))

    expected = functional.cross_entropy(head(read), torch.tensor(codes))
    torch.testing.assert_close(loss, expected)


def test_balanced_classes_have_equal_total_weights() -> None:
    head = build_head(CategoryHead, 5, 3, HeadConfig(class_weights="balanced"))
    codes = [0] * 6 + [1] * 3 + [2]

    head.set_class_weights(torch.tensor([6, 3, 1]), 10)

    weights = head.weight_O[torch.tensor(codes)]
    shares = [float(weights[torch.tensor(codes) == code].sum()) for code in range(3)]
    np.testing.assert_allclose(shares, 10 / 3, rtol=1e-6)
    expected = functional.cross_entropy(
        head(encoded(10)), torch.tensor(codes), weight=head.weight_O
    )
    torch.testing.assert_close(head.loss(encoded(10), single(codes)), expected)


def test_classes_are_not_weighted_by_default() -> None:
    head = build_head(CategoryHead, 5, 3, HeadConfig())

    head.set_class_weights(torch.tensor([6, 3, 1]), 10)

    assert head.weight_O.tolist() == [1, 1, 1]


def test_the_focal_loss_is_that_of_the_paper() -> None:
    codes = torch.tensor([0, 2, 1, 1])
    head = build_head(CategoryHead, 5, 3, HeadConfig(focal_gamma=2.0))
    right = head(encoded(4)).softmax(dim=1)[torch.arange(4), codes]

    loss = head.loss(encoded(4), single(codes.tolist()))

    torch.testing.assert_close(loss, -((1 - right) ** 2 * right.log()).mean())


def test_label_smoothing_never_rewards_certainty() -> None:
    head = build_head(CategoryHead, 5, 3, HeadConfig(label_smoothing=0.3))
    log_probs = head(encoded(1)).log_softmax(dim=1)[0]

    loss = head.loss(encoded(1), single([1]))

    torch.testing.assert_close(loss, -(torch.tensor([0.1, 0.8, 0.1]) * log_probs).sum())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("mse", lambda off: off**2),
        ("mae", abs),
        ("huber", lambda off: off**2 / 2 if abs(off) < 1 else abs(off) - 0.5),
    ],
)
def test_the_loss_of_a_number_is_the_configured_one(error: str, expected) -> None:
    head, read = build_head(NumberHead, 5, build_output(HeadConfig(loss=error))), encoded(6)
    targets = [-4.0, -0.5, 0.0, 0.2, 3.0, 9.0]

    loss = head.loss(read, single(targets)).item()

    errors = (head(read)[:, 0] - torch.tensor(targets)).tolist()
    assert loss == pytest.approx(np.mean([expected(off) for off in errors]), rel=1e-5)


def test_a_gaussian_number_learns_its_uncertainty() -> None:
    head = build_head(NumberHead, 1, build_output(HeadConfig(loss="gaussian_nll")))
    draw = torch.Generator().manual_seed(0)
    is_noisy = (torch.arange(2000) % 2).float()
    targets = is_noisy + torch.randn(2000, generator=draw) * (0.1 + 0.9 * is_noisy)
    read = Encoded(is_noisy[:, None], is_noisy[:, None], Offsets.from_lengths([1] * 2000))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(read, single(targets.tolist())).backward()
        optimizer.step()

    certain, uncertain = head(read)[0], head(read)[1]

    np.testing.assert_allclose(certain.tolist(), [0.0, 0.1], atol=0.05)
    np.testing.assert_allclose(uncertain.tolist(), [1.0, 1.0], atol=0.15)
    assert (head(encoded(50, width=1))[:, 1] >= MIN_STD).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"focal_gamma": -1.0}, "focal_gamma: -1.0 is below 0"),
        ({"label_smoothing": 1.0}, "label_smoothing: 1.0 is not between"),
        (
            {"focal_gamma": 2.0, "label_smoothing": 0.1},
            "focal_gamma: it does not go with label_smoothing",
        ),
    ],
)
def test_invalid_losses_are_rejected(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HeadConfig(**settings)
