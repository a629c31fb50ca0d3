"""Which epoch is kept and when a training ends, to the epoch; rates of a schedule, to the step."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.learning.callbacks import ValidationMetric, smooth_scores
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, EpochResult, TrainingProgress, fit
from models.learning.plan import TrainingPlan
from models.learning.schedule import compute_learning_rate
from models.learning.weight_averaging import WeightAverage
from tests.support.learning_fixtures import (
    CONFIG,
    NO_CHECKPOINTS,
    build_small_network,
    draw_sequences,
)

PLAN = TrainingPlan(20, 1, 0.01, False, 8, "fp32")


def is_over(*, epochs_done: int, best: int, first: int = 0, patience: int = 3) -> bool:
    progress = TrainingProgress(torch.zeros(1), epoch=epochs_done, best_epoch=best)
    return progress.is_over(PLAN, TrainingConfig(patience=patience), first=first)


def train_by_values(values: Sequence[float], *, patience: int) -> tuple[int, list[EpochResult]]:
    """Train by a metric with these values; return the epoch whose weights are kept, and all."""
    kept, weights = iter(values), []
    network, config = build_small_network(), replace(CONFIG, epochs=len(values), patience=patience)
    network_name = next(iter(network.state_dict()))
    metric = ValidationMetric("score", True, lambda _: next(kept), stops_training=True)

    def store_weights(_: EpochResult) -> None:
        weights.append(network.state_dict()[network_name].clone())

    _, history = fit(
        network,
        draw_sequences(16, "category"),
        draw_sequences(500, "category", seed=1),
        config=replace(config, weight_averaging="none"),
        checkpoints=NO_CHECKPOINTS,
        callbacks=Callbacks(store_weights),
        metric=metric,
    )
    final = network.state_dict()[network_name]
    return next(i for i, each in enumerate(weights) if torch.equal(each, final)), history


def test_a_training_ends_after_exactly_the_patience() -> None:
    assert [is_over(epochs_done=done, best=2) for done in (4, 5, 6, 7)] == [
        False,
        False,
        True,
        True,
    ]
    assert not is_over(epochs_done=19, best=18)
    assert is_over(epochs_done=20, best=19)


def test_patience_is_counted_from_the_first_averaged_epoch() -> None:
    over = [is_over(epochs_done=done, best=0, first=8) for done in (8, 10, 11)]

    assert over == [False, False, True]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 8)])
def test_the_epochs_after_the_best_one_are_as_many_as_the_patience(
    patience: int, epochs: int
) -> None:
    # Only the longest patience sees the better value of epoch 5, and then the end.
    best, history = train_by_values([1, 2, 1, 1, 3, 2, 2, 2, 9, 9], patience=patience)

    assert len(history) == epochs
    assert best == (4 if patience == 3 else 1)


def test_of_equally_good_epochs_the_first_is_kept() -> None:
    best, history = train_by_values([1, 2, 2, 2, 2, 2], patience=2)

    assert (best, len(history)) == (1, 4)


def test_scores_are_smoothed_by_how_few_rows_they_are_of() -> None:
    history = [EpochResult(epoch, 1.0, loss) for epoch, loss in enumerate([1.0, 0.0])]

    assert smooth_scores(history, None, rows=499)[1] == pytest.approx(1 - 499 / 500)
    assert smooth_scores(history, None, rows=300)[1] == pytest.approx(0.4)
    assert smooth_scores(history, None, rows=10)[1] == pytest.approx(0.6)


def test_the_rate_warms_up_over_a_twentieth_and_decays_to_a_twentieth() -> None:
    config = TrainingConfig(schedule="cosine")

    rates = [compute_learning_rate(done, config, peak=2.0, total=200) for done in range(201)]

    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[105] == pytest.approx(2.0 * (0.05 + 0.95 / 2))
    assert rates[200] == pytest.approx(0.1)
    assert (np.diff(rates[10:]) < 0).all()


def test_the_exponential_average_spans_a_twentieth_of_the_steps_and_at_most_a_thousand() -> None:
    def read_decay(steps: int) -> float:
        network = build_small_network()
        average = WeightAverage(
            network, replace(CONFIG, weight_averaging="ema"), epochs=4, steps=steps
        )
        weight = network.head.scores.weight
        with torch.no_grad():
            weight.fill_(0.0)
            average.update_after_step()
            weight.fill_(1.0)
            average.update_after_step()
        return 1 - float(average.prediction_network.head.scores.weight.detach()[0, 0])

    assert read_decay(20) == pytest.approx(0.0)
    assert read_decay(2_000) == pytest.approx(0.99, abs=1e-6)
    assert read_decay(10**6) == pytest.approx(0.999, abs=1e-6)


@pytest.mark.parametrize(("epochs", "first"), [(4, 3), (8, 6), (16, 12), (20, 15), (1, 0)])
def test_the_stochastic_average_covers_the_last_quarter(epochs: int, first: int) -> None:
    config = replace(CONFIG, weight_averaging="swa")

    average = WeightAverage(build_small_network(), config, epochs=epochs, steps=epochs)

    assert average.first_epoch == first


def test_an_epoch_without_a_metric_is_never_the_best() -> None:
    history = [EpochResult(0, 1.0, 1.0, metric=None), EpochResult(1, 1.0, 9.0, metric=0.1)]
    metric = ValidationMetric("score", True, lambda _: 0.0, stops_training=True)

    assert smooth_scores(history, metric, rows=500) == [math.inf, -0.1]
