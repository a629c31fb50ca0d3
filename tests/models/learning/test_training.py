"""How a network may be asked to learn: schedules, averages, budgets, and named failures."""

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
from models.learning.plan import find_learning_rate, make_plan
from models.learning.schedule import compute_learning_rate, count_plateaus
from models.learning.step import balance_classes, draw_steps, take_step
from models.learning.weight_averaging import WeightAverage
from models.learning.weights import Optimizer
from tests.support.learning_fixtures import (
    CONFIG,
    NOWHERE,
    Disk,
    PulledPlugError,
    assert_equal_weights,
    new_network,
    sequences,
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
def test_every_way_of_learning_resumes_to_the_bit(way: str, lives: int) -> None:
    config = replace(CONFIG, **WAYS[way])
    unbroken, resumed, disk = new_network(), new_network(), Disk()
    whole = train(unbroken, config=config)

    with suppress(PulledPlugError):
        train(new_network(), disk.checkpoints(lives=lives), config=config)
    history = train(resumed, disk.checkpoints(), config=config)

    assert history == whole
    assert_equal_weights(resumed, unbroken)


# --- schedules


@given(st.integers(1, 500), st.floats(1e-5, 1.0), st.sampled_from(["plateau", "constant"]))
def test_without_a_cosine_the_rate_stays_high(total: int, height: float, schedule: str) -> None:
    config = TrainingConfig(schedule=schedule)

    rates = [compute_learning_rate(done, config, peak=height, total=total) for done in range(total)]

    assert rates[-1] == pytest.approx(height)
    assert (np.diff(rates) > -1e-12).all()


def test_a_plateau_halves_the_rate_and_a_better_loss_does_not() -> None:
    assert count_plateaus([5, 4, 3, 2, 1], wait=2) == 0
    assert count_plateaus([5, 6, 5], wait=2) == 1
    assert count_plateaus([5, 6, 4, 5, 3, 4], wait=2) == 0
    assert count_plateaus([5, 6, 6, 6, 6], wait=2) == 2
    config = TrainingConfig(schedule="plateau", patience=4)

    def rate(losses: list[float]) -> float:
        return compute_learning_rate(90, config, peak=1.0, total=100, losses=losses)

    assert [rate([5, 6]), rate([5, 6, 6]), rate([5, 6, 6, 6, 6])] == [1.0, 0.5, 0.25]


# --- averages


def test_the_stochastic_average_is_the_mean_of_the_last_epochs_weights() -> None:
    plain, averaged, ends = new_network(), new_network(), []
    config = replace(CONFIG, epochs=8, patience=8)

    def remember(_: object) -> None:
        ends.append({name: value.clone() for name, value in plain.state_dict().items()})

    data = (sequences(36, "category"), sequences(16, "category", seed=1))
    fit(plain, *data, config=config, checkpoints=NOWHERE, callbacks=Callbacks(remember))
    _, history = fit(
        averaged,
        *data,
        config=replace(config, weight_averaging="swa"),
        checkpoints=NOWHERE,
        callbacks=Callbacks(lambda _: None),
    )

    best = min(range(8), key=lambda epoch: history[epoch].validation_loss)
    seen = ends[6 : best + 1] if best >= 6 else [ends[best]]
    for name, value in averaged.state_dict().items():
        mean = torch.stack([end[name] for end in seen]).float().mean(dim=0)
        torch.testing.assert_close(value.float(), mean, rtol=1e-5, atol=1e-6)


def test_patience_does_not_end_before_the_average_of_epochs_begins() -> None:
    config = replace(CONFIG, epochs=16, patience=1, learning_rate=0.5, schedule="constant")

    short = train(new_network(), config=config)
    long = train(new_network(), config=replace(config, weight_averaging="swa"))

    assert len(short) < 12
    assert len(long) >= 13


def test_the_exponential_average_follows_every_step() -> None:
    network = new_network()
    average = WeightAverage(network, replace(CONFIG, weight_averaging="ema"), epochs=4, steps=200)
    expected = None

    for _ in range(5):
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        average.update_after_step()
        now = network.head.scores.weight.detach()
        expected = now.clone() if expected is None else 0.9 * expected + 0.1 * now

    assert average.current_best is not network
    torch.testing.assert_close(average.current_best.head.scores.weight.detach(), expected)


# --- steps


@pytest.mark.parametrize("bound", [1e-3, 1e3])
def test_a_step_is_that_of_torch_s_clipping_and_adamw(bound: float) -> None:
    config = TrainingConfig(max_grad_norm=bound, weight_decay=0.1)
    ours, torchs = new_network(), new_network()
    weights = Optimizer(ours, config)
    adamw = torch.optim.AdamW(torchs.parameters(), lr=0.01, weight_decay=0.1)
    draw = torch.Generator().manual_seed(0)

    for _ in range(3):
        weights.zero_grad()
        for mine, other in zip(ours.parameters(), torchs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=draw)
            other.grad = mine.grad.clone()
        weights.step(0.01)
        torch.nn.utils.clip_grad_norm_(torchs.parameters(), bound)
        adamw.step()

    for mine, other in zip(ours.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_weight_without_a_gradient_stays_as_it_is() -> None:
    network = new_network()
    first, *rest = [weight.detach().clone() for weight in network.parameters()]
    weights = Optimizer(network, TrainingConfig())
    for weight in list(network.parameters())[1:]:
        weight.grad = torch.ones_like(weight)

    weights.step(0.01)

    found = list(network.parameters())
    assert torch.equal(found[0], first)
    assert not any(torch.equal(*pair) for pair in zip(found[1:], rest, strict=True))


# --- batches


def test_gradients_of_small_batches_add_up_to_those_of_a_large_one() -> None:
    data, rows = sequences(24, "number"), np.arange(24)
    found = []
    for batch, accumulate in ((24, 1), (7, 4)):
        network = new_network(goal="number")
        network.dropout.p = network.encoder.between.dropout.p = 0.0
        config = TrainingConfig(batch_size=batch, gradient_accumulation=accumulate)
        loss = take_step(
            network.train(),
            Optimizer(network, config),
            data,
            rows=rows,
            rate=0.01,
            config=config,
        )
        found.append([loss, *(weight.grad for weight in network.parameters())])

    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
    assert [len(rows) for rows in draw_steps(data, config, epoch=0)] == [24]


def test_balanced_sampling_shows_every_class_equally_often() -> None:
    data = sequences(400, "category")
    data.targets_M[:] = (torch.arange(400) < 20).float()

    shares = balance_classes(data)
    drawn = np.concatenate(draw_batches(data.lengths_S, batch=50, seed=0, epoch=0, shares_S=shares))

    assert shares.sum() == pytest.approx(1)
    assert len(drawn) == 400
    assert 0.4 < (drawn < 20).mean() < 0.6


# --- plans


def test_a_budget_bounds_the_time_and_the_schedule_fits_it() -> None:
    data = (sequences(3000, "category"), sequences(100, "category", seed=1))
    config = TrainingConfig(epochs=10_000, patience=10_000, batch_size=8, budget=60.0)
    network = new_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    plan = make_plan(network, *data, config)
    short = make_plan(network, *data, replace(config, budget=0.05))

    assert 1 <= plan.epochs < 10_000
    assert plan.steps == 375
    assert short.epochs == 1
    assert short.steps < 375
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_budget_is_measured_once_even_over_a_kill() -> None:
    config = replace(CONFIG, budget=100.0, epochs=4)
    disk = Disk()
    with pytest.raises(PulledPlugError):
        train(new_network(), disk.checkpoints(lives=3), config=config)

    def measure(*_: object) -> None:
        raise AssertionError("measured again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.learning.plan.make_plan", measure)
        history = train(new_network(), disk.checkpoints(), config=config)

    assert len(history) == 4


def test_a_rate_is_found_that_learns() -> None:
    data = sequences(200, "number")
    config = TrainingConfig(batch_size=16, epochs=10, patience=10, learning_rate="auto")

    rate = find_learning_rate(new_network(goal="number"), data, config)
    found = train(new_network(goal="number"), goal="number", config=config)
    timid = train(
        new_network(goal="number"), goal="number", config=replace(config, learning_rate=1e-5)
    )

    assert 1e-4 < rate < 0.5
    assert found[-1].training_loss < 0.9 * timid[-1].training_loss


def test_every_step_is_told_with_how_many_there_are() -> None:
    told = []

    plan, _ = fit(
        new_network(),
        sequences(36, "category"),
        sequences(16, "category", seed=1),
        config=CONFIG,
        checkpoints=NOWHERE,
        callbacks=Callbacks(lambda _: None, told.append),
    )

    assert [step.done for step in told] == list(range(1, plan.total_steps + 1))
    assert {step.total for step in told} == {20}
    assert sum(step.sequences for step in told) == 4 * 36


# --- failures


def test_the_rows_of_the_step_that_diverged_are_named() -> None:
    data = sequences(36, "number")
    data.targets_M[17] = float("inf")

    with pytest.raises(DivergedError, match=r"in step [1-5] of epoch 1") as caught:
        fit(
            new_network(goal="number"),
            data,
            sequences(16, "number", seed=1),
            config=replace(CONFIG, checkpoint_every=100.0),
            checkpoints=NOWHERE,
            callbacks=Callbacks(lambda _: None),
        )

    assert 17 in caught.value.rows
    assert len(caught.value.rows) <= 8


def test_a_checkpoint_holds_what_was_when_it_was_taken() -> None:
    kept, weight = [], torch.zeros(3)

    def write_slowly(data: bytes) -> None:
        time.sleep(0.05)
        kept.append(data)

    with CheckpointWriter(write_slowly, every=0.0) as saver:
        saver.save_state({"weight": weight})
        weight += 1
        saver.save_state({"weight": weight})
        weight += 1

    from models.learning.checkpoint import parse_state

    assert [parse_state(data)["weight"].tolist() for data in kept] == [[0.0] * 3, [1.0] * 3]


def test_a_checkpoint_that_cannot_be_written_stops_the_training() -> None:
    def fail(_: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), CheckpointWriter(fail, every=0.0) as saver:
        saver.save_state({"weight": torch.zeros(3)})


def test_checkpoints_come_further_apart_where_they_are_dear() -> None:
    saver = CheckpointWriter(lambda _: None, every=0.001)
    time.sleep(0.01)
    assert saver.is_due()

    saver.last_seconds = 3600.0

    assert not saver.is_due()
