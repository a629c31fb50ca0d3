"""Epochs are compared by values that are smoothed where few rows make them noisy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.learning.batch_size import choose_batch_size
from models.learning.callbacks import EpochResult, smooth_scores
from models.learning.config import TrainingConfig
from models.learning.plan import choose_epochs, estimate_epochs


def build_history(losses: list[float]) -> list[EpochResult]:
    return [EpochResult(epoch, 1.0, loss) for epoch, loss in enumerate(losses)]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_many_rows_are_not_smoothed(losses: list[float]) -> None:
    assert smooth_scores(build_history(losses), None, rows=500) == pytest.approx(losses)


def test_a_lucky_epoch_on_few_rows_is_not_the_best() -> None:
    history = build_history([1.0, 0.4, 1.0, 0.6, 0.55, 0.5, 0.5, 0.5, 0.5])

    scores = smooth_scores(history, None, rows=10)

    assert scores.index(min(scores)) == len(history) - 1


def test_an_epoch_without_a_value_does_not_spoil_the_following_ones() -> None:
    scores = smooth_scores(build_history([math.inf, 2.0, 1.0]), None, rows=10)

    assert scores == pytest.approx([math.inf, 2.0, 1.6])


@pytest.mark.parametrize(
    ("rows", "expected"), [(18, 4), (79, 4), (80, 8), (240, 16), (640, 64), (10**6, 64)]
)
def test_a_batch_leaves_ten_steps_in_an_epoch(rows: int, expected: int) -> None:
    assert choose_batch_size(rows) == expected


def test_epochs_are_planned_by_steps() -> None:
    assert choose_epochs(TrainingConfig(), 5) == 100
    assert choose_epochs(TrainingConfig(), 12) == 60
    assert choose_epochs(TrainingConfig(), 20) == 50
    assert choose_epochs(TrainingConfig(), 500) == 12
    assert choose_epochs(TrainingConfig(epochs=3), 8) == 3
    assert estimate_epochs(TrainingConfig(), 30) == 63


def test_patience_follows_the_planned_epochs() -> None:
    assert TrainingConfig(epochs=90).patience_epochs == 30
    assert TrainingConfig(epochs=9).patience_epochs == 8
    assert TrainingConfig(epochs=90, patience=4).patience_epochs == 4


def test_the_budget_is_that_of_all_networks_together() -> None:
    assert TrainingConfig(budget=60.0).share_budget(5).budget == 12.0
    assert TrainingConfig().share_budget(5).budget is None
