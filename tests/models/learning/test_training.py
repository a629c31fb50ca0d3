"""Settings of training: schedules, averages, budgets, and reported failures."""

import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DivergedError
from models.learning.batches import draw_batches
from models.learning.checkpoint import CheckpointWriter
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, fit
from models.learning.optimizer import Optimizer
from models.learning.plan import find_learning_rate, make_plan
from models.learning.schedule import compute_learning_rate, count_plateaus
from models.learning.step import balance_classes, draw_steps, take_step
from models.learning.weight_averaging import WeightAverage
from tests.support.learning_fixtures import (
    CONFIG,
    NO_CHECKPOINTS,
    CheckpointDisk,
    ProcessKilledError,
    assert_equal_weights,
    build_small_network,
    draw_sequences,
    train,
)

WAYS = {
    "plateau": {"schedule": "plateau", "patience": 2, "epochs": 8},
    "constant": {"schedule": "constant"},
    "ema": {"weight_averaging": "ema"},
    "swa": {"weight_averaging": "swa"},
    "accumulate": {"gradient_accumulation": 2, "batch_size": 4},
    "balanced": {"sampler": "balanced"},
    "auto": {"learning_rate": "auto"},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=4)
@given(lives=st.integers(1, 20))
def test_every_training_setting_resumes_bit_for_bit(way: str, lives: int) -> None:
    config = replace(CONFIG, **WAYS[way])
    uninterrupted, resumed, disk = build_small_network(), build_small_network(), CheckpointDisk()
    whole = train(uninterrupted, config=config)

    with suppress(ProcessKilledError):
        train(build_small_network(), disk.open_store(max_saves=lives), config=config)
    history = train(resumed, disk.open_store(), config=config)

    assert history == whole
    assert_equal_weights(resumed, uninterrupted)


# --- schedules


@given(st.integers(1, 500), st.floats(1e-5, 1.0), st.sampled_from(["plateau", "constant"]))
def test_without_a_cosine_the_learning_rate_stays_at_its_peak(
    total: int, height: float, schedule: str
) -> None:
    config = TrainingConfig(schedule=schedule)

    rates = [compute_learning_rate(done, config, peak=height, total=total) for done in range(total)]

    assert rates[-1] == pytest.approx(height)
    assert (np.diff(rates) > -1e-12).all()


def test_a_plateau_halves_the_learning_rate_and_a_better_loss_does_not() -> None:
    assert count_plateaus([5, 4, 3, 2, 1], patience=2) == 0
    assert count_plateaus([5, 6, 5], patience=2) == 1
    assert count_plateaus([5, 6, 4, 5, 3, 4], patience=2) == 0
    assert count_plateaus([5, 6, 6, 6, 6], patience=2) == 2
    config = TrainingConfig(schedule="plateau", patience=4)

    def rate(losses: list[float]) -> float:
        return compute_learning_rate(90, config, peak=1.0, total=100, losses=losses)

    assert [rate([5, 6]), rate([5, 6, 6]), rate([5, 6, 6, 6, 6])] == [1.0, 0.5, 0.25]


# --- averages


def test_the_stochastic_average_is_the_mean_of_the_last_epochs_weights() -> None:
    plain, averaged, ends = build_small_network(), build_small_network(), []
    config = replace(CONFIG, epochs=8, patience=8)

    def store_weights(_: object) -> None:
        ends.append({name: value.clone() for name, value in plain.state_dict().items()})

    data = (draw_sequences(36, "category"), draw_sequences(16, "category", seed=1))
    fit(plain, *data, config=config, checkpoints=NO_CHECKPOINTS, callbacks=Callbacks(store_weights))
    _, history = fit(
        averaged,
        *data,
        config=replace(config, weight_averaging="swa"),
        checkpoints=NO_CHECKPOINTS,
        callbacks=Callbacks(lambda _: None),
    )

    best = min(range(8), key=lambda epoch: history[epoch].validation_loss)
    averaged_ends = ends[6 : best + 1] if best >= 6 else [ends[best]]
    for name, value in averaged.state_dict().items():
        mean = torch.stack([end[name] for end in averaged_ends]).float().mean(dim=0)
        torch.testing.assert_close(value.float(), mean, rtol=1e-5, atol=1e-6)


def test_patience_does_not_end_before_the_average_of_epochs_begins() -> None:
    config = replace(CONFIG, epochs=16, patience=1, learning_rate=0.5, schedule="constant")

    short = train(build_small_network(), config=config)
    long = train(build_small_network(), config=replace(config, weight_averaging="swa"))

    assert len(short) < 12
    assert len(long) >= 13


def test_the_exponential_average_follows_every_step() -> None:
    network = build_small_network()
    average = WeightAverage(network, replace(CONFIG, weight_averaging="ema"), epochs=4, steps=200)
    expected = None

    for _ in range(5):
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        average.update_after_step()
        now = network.head.scores.weight.detach()
        expected = now.clone() if expected is None else 0.9 * expected + 0.1 * now

    assert average.prediction_network is not network
    torch.testing.assert_close(average.prediction_network.head.scores.weight.detach(), expected)


# --- steps


@pytest.mark.parametrize("bound", [1e-3, 1e3])
def test_a_step_equals_clipping_and_adamw_of_torch(bound: float) -> None:
    config = TrainingConfig(max_grad_norm=bound, weight_decay=0.1)
    network_here, network_torch = build_small_network(), build_small_network()
    weights = Optimizer(network_here, config)
    adamw = torch.optim.AdamW(network_torch.parameters(), lr=0.01, weight_decay=0.1)
    draw = torch.Generator().manual_seed(0)

    for _ in range(3):
        weights.zero_grad()
        for weight, other in zip(
            network_here.parameters(), network_torch.parameters(), strict=True
        ):
            weight.grad = torch.randn(weight.shape, generator=draw)
            other.grad = weight.grad.clone()
        weights.step(0.01)
        torch.nn.utils.clip_grad_norm_(network_torch.parameters(), bound)
        adamw.step()

    for weight, other in zip(network_here.parameters(), network_torch.parameters(), strict=True):
        torch.testing.assert_close(weight, other)


def test_a_weight_without_a_gradient_does_not_change() -> None:
    network = build_small_network()
    first, *rest = [weight.detach().clone() for weight in network.parameters()]
    weights = Optimizer(network, TrainingConfig())
    for weight in list(network.parameters())[1:]:
        weight.grad = torch.ones_like(weight)

    weights.step(0.01)

    result = list(network.parameters())
    assert torch.equal(result[0], first)
    assert not any(torch.equal(*pair) for pair in zip(result[1:], rest, strict=True))


# --- batches


def test_gradients_of_small_batches_add_up_to_those_of_a_large_one() -> None:
    data, rows = draw_sequences(24, "number"), np.arange(24)
    result = []
    for batch, accumulate in ((24, 1), (7, 4)):
        network = build_small_network(kind="number")
        network.dropout.p = network.encoder.between.dropout.p = 0.0
        config = TrainingConfig(batch_size=batch, gradient_accumulation=accumulate)
        loss = take_step(
            network.train(),
            Optimizer(network, config),
            data,
            rows=rows,
            learning_rate=0.01,
            config=config,
        )
        result.append([loss, *(weight.grad for weight in network.parameters())])

    torch.testing.assert_close(result[0], result[1], rtol=1e-4, atol=1e-6)
    assert [len(rows) for rows in draw_steps(data, config, epoch=0)] == [24]


def test_balanced_sampling_shows_every_class_equally_often() -> None:
    data = draw_sequences(400, "category")
    data.targets_M[:] = (torch.arange(400) < 20).float()

    shares = balance_classes(data)
    drawn = np.concatenate(
        draw_batches(data.lengths_S, batch=50, seed=0, epoch=0, probabilities_S=shares)
    )

    assert shares.sum() == pytest.approx(1)
    assert len(drawn) == 400
    assert 0.4 < (drawn < 20).mean() < 0.6


# --- plans


def test_a_budget_bounds_the_time_and_the_schedule_fits_it() -> None:
    data = (draw_sequences(3000, "category"), draw_sequences(100, "category", seed=1))
    config = TrainingConfig(epochs=10_000, patience=10_000, batch_size=8, budget=60.0)
    network = build_small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    plan = make_plan(network, *data, config)
    short = make_plan(network, *data, replace(config, budget=0.05))

    assert 1 <= plan.epochs < 10_000
    assert plan.steps == 375
    assert short.epochs == 1
    assert short.steps < 375
    assert plan.budget_share == plan.epochs / 10_000
    assert 0 < short.budget_share < 1 / 10_000
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_budget_is_measured_once_even_if_the_run_is_killed() -> None:
    config = replace(CONFIG, budget=100.0, epochs=4)
    disk = CheckpointDisk()
    with pytest.raises(ProcessKilledError):
        train(build_small_network(), disk.open_store(max_saves=3), config=config)

    def measure(*_: object) -> None:
        raise AssertionError("measured again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.learning.plan.make_plan", measure)
        history = train(build_small_network(), disk.open_store(), config=config)

    assert len(history) == 4


def test_the_learning_rate_that_is_found_reduces_the_loss() -> None:
    data = draw_sequences(200, "number")
    config = TrainingConfig(batch_size=16, epochs=10, patience=10, learning_rate="auto")

    rate = find_learning_rate(build_small_network(kind="number"), data, config)
    result = train(build_small_network(kind="number"), kind="number", config=config)
    slow_training = train(
        build_small_network(kind="number"),
        kind="number",
        config=replace(config, learning_rate=1e-5),
    )

    assert 1e-4 < rate < 0.5
    assert result[-1].training_loss < 0.9 * slow_training[-1].training_loss


def test_every_step_is_reported_with_the_total() -> None:
    steps = []

    plan, _ = fit(
        build_small_network(),
        draw_sequences(36, "category"),
        draw_sequences(16, "category", seed=1),
        config=CONFIG,
        checkpoints=NO_CHECKPOINTS,
        callbacks=Callbacks(lambda _: None, steps.append),
    )

    assert [step.done for step in steps] == list(range(1, plan.total_steps + 1))
    assert {step.total for step in steps} == {20}
    assert sum(step.sequences for step in steps) == 4 * 36


# --- failures


def test_the_rows_of_the_diverged_step_are_reported() -> None:
    data = draw_sequences(36, "number")
    data.targets_M[17] = float("inf")

    with pytest.raises(DivergedError, match=r"in step [1-5] of epoch 1") as caught:
        fit(
            build_small_network(kind="number"),
            data,
            draw_sequences(16, "number", seed=1),
            config=replace(CONFIG, checkpoint_every=100.0),
            checkpoints=NO_CHECKPOINTS,
            callbacks=Callbacks(lambda _: None),
        )

    assert 17 in caught.value.rows
    assert len(caught.value.rows) <= 8


def test_a_checkpoint_contains_the_state_of_its_own_time() -> None:
    saved, weight = [], torch.zeros(3)

    def write_slowly(data: bytes) -> None:
        time.sleep(0.05)
        saved.append(data)

    with CheckpointWriter(write_slowly, interval_seconds=0.0) as saver:
        saver.save_state({"weight": weight})
        weight += 1
        saver.save_state({"weight": weight})
        weight += 1

    from models.learning.checkpoint import parse_state

    assert [parse_state(data)["weight"].tolist() for data in saved] == [[0.0] * 3, [1.0] * 3]


def test_a_checkpoint_that_cannot_be_written_stops_the_training() -> None:
    def fail(_: bytes) -> None:
        raise OSError("no space left")

    with (
        pytest.raises(OSError, match="no space left"),
        CheckpointWriter(fail, interval_seconds=0.0) as saver,
    ):
        saver.save_state({"weight": torch.zeros(3)})


def test_slow_checkpoints_are_written_less_often() -> None:
    saver = CheckpointWriter(lambda _: None, interval_seconds=0.001)
    time.sleep(0.01)
    assert saver.is_due()

    saver.last_seconds = 3600.0

    assert not saver.is_due()
