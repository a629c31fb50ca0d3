"""Training: a killed run ends as an unbroken one, for every cell, and nothing leaks out of it."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DivergedError
from models.learning.batches import SequenceSet, cut_batches, draw_batches
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, fit, predict
from models.learning.schedule import compute_learning_rate
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets
from models.networks.network import build_network
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
from tests.support.model_parts import face


@pytest.mark.parametrize(
    ("cell", "goal"),
    [
        (cell, ("number", "category")[place % 2])
        for place, (cell, family) in enumerate(FAMILIES.items())
        if family.reads == "steps"
    ],
)
@settings(max_examples=3)
@given(st.integers(1, 20))
def test_every_cell_resumes_to_the_bit_from_any_step(cell: str, goal: str, lives: int) -> None:
    unbroken, resumed, disk = new_network(cell, goal), new_network(cell, goal), Disk()
    whole = train(unbroken, goal=goal)

    with pytest.raises(PulledPlugError):
        train(new_network(cell, goal), disk.checkpoints(lives=lives), goal=goal)
    history = train(resumed, disk.checkpoints(), goal=goal)

    assert history == whole
    assert_equal_weights(resumed, unbroken)


def test_a_run_that_is_killed_after_its_best_epoch_still_ends_with_it() -> None:
    config = TrainingConfig(
        epochs=9,
        patience=9,
        batch_size=4,
        learning_rate=0.3,
        max_grad_norm=50.0,
        checkpoint_every=0.0,
    )
    unbroken, resumed, disk = new_network(), new_network(), Disk()
    whole = train(unbroken, config=config)
    best = min(range(len(whole)), key=lambda place: whole[place].validation_loss)
    assert best < 7, "the best epoch has to lie before the kill for this test to tell anything"

    with pytest.raises(PulledPlugError):
        train(new_network(), disk.checkpoints(lives=9 * 8 + 4), config=config)
    train(resumed, disk.checkpoints(), config=config)

    assert_equal_weights(resumed, unbroken)


def test_a_run_that_had_stopped_learning_is_only_closed_again() -> None:
    finished, again, disk, seen = new_network(), new_network(), Disk(), []
    whole = train(finished, disk.checkpoints())
    steps = disk.saved

    history = train(again, disk.checkpoints(), seen=seen)

    assert history == whole
    assert disk.saved == steps
    assert [epoch.epoch for epoch in seen] == [CONFIG.epochs - 1]
    assert_equal_weights(again, finished)


def test_each_epoch_is_told_once_even_over_a_kill() -> None:
    disk, seen = Disk(), []

    with pytest.raises(PulledPlugError):
        train(new_network(), disk.checkpoints(lives=12), seen=seen)
    history = train(new_network(), disk.checkpoints(), seen=seen)

    assert seen == history
    assert [epoch.epoch for epoch in seen] == [0, 1, 2, 3]


def test_the_same_seed_trains_the_same_network_and_another_seed_another() -> None:
    first, second, other = new_network(), new_network(), new_network()

    train(first)
    torch.rand(7)
    train(second)
    train(other, config=TrainingConfig(epochs=4, patience=4, batch_size=8, seed=8))

    assert_equal_weights(second, first)
    assert not torch.equal(other.head.scores.weight, first.head.scores.weight)


def test_training_does_not_touch_the_callers_random_state() -> None:
    network = new_network()
    torch.manual_seed(5)
    expected = torch.rand(1)

    torch.manual_seed(5)
    train(network)

    assert torch.equal(torch.rand(1), expected)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    checkpoints = CheckpointStore(
        load=lambda: pickle.dumps(Trap(mark), protocol=2), save=lambda _: None
    )

    with pytest.raises(pickle.UnpicklingError):
        train(new_network(), checkpoints)

    assert not mark.exists()


def test_a_network_that_has_diverged_is_never_saved() -> None:
    disk, broken = Disk(), new_network()
    with torch.no_grad():
        broken.head.scores.bias.fill_(float("inf"))

    with pytest.raises(DivergedError, match="in step 1 of epoch 1"):
        train(broken, disk.checkpoints())

    assert disk.saved == 0


def test_a_validation_loss_that_is_not_finite_stops_the_training() -> None:
    network, validation = new_network(goal="number"), sequences(16, "number", seed=1)
    validation.targets_M[3] = float("nan")

    with pytest.raises(DivergedError, match="on the validation rows after epoch 1"):
        fit(
            network,
            sequences(36, "number"),
            validation,
            config=CONFIG,
            checkpoints=NOWHERE,
            callbacks=Callbacks(lambda _: None),
        )


def test_a_number_that_can_be_learned_is_learned() -> None:
    network = build_network(ModelConfig(hidden_size=12, pooling="last"), face(2, 1), seed=0)
    config = TrainingConfig(epochs=25, patience=25, batch_size=8, learning_rate=0.02)

    history = train(network, goal="number", config=config)

    spread = float(sequences(16, "number", seed=1).targets_M.var(correction=0))
    assert min(epoch.validation_loss for epoch in history) < 0.25 * spread


def test_half_precision_trains_on_the_processor_too() -> None:
    network = new_network()

    history = train(network, config=TrainingConfig(epochs=2, batch_size=8, precision="bf16"))

    assert np.isfinite([epoch.validation_loss for epoch in history]).all()
    assert network.head.scores.weight.dtype == torch.float32


@given(st.integers(1, 40))
def test_every_sequence_gets_its_own_answer_whatever_its_length(count: int) -> None:
    network, asked = new_network().eval(), sequences(count, "category")

    together = predict(network, asked, CONFIG)

    for row in range(count):
        start, stop = int(asked.spans.starts_S[row]), int(asked.spans.stops_S[row])
        with torch.no_grad():
            alone = network(asked.values_NC[start:stop], Offsets.from_lengths([stop - start]))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-5, atol=1e-6)


def test_nothing_to_predict_is_refused() -> None:
    nothing = sequences(3, "category")
    statics = StaticBatch(*(beside[:0] for beside in nothing.statics))
    empty = SequenceSet(
        nothing.values_NC,
        nothing.spans.select(np.arange(0)),
        nothing.targets_M[:0],
        nothing.target_spans.select(np.arange(0)),
        statics,
    )

    with pytest.raises(ValueError, match="no sequences to predict"):
        predict(new_network(), empty, CONFIG)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 9))
def test_rows_are_scored_once_each_with_rows_of_like_length(lengths: list[int], batch: int) -> None:
    counts = np.array(lengths)

    order = cut_batches(counts, batch=batch)

    rows = np.concatenate(order)
    assert sorted(rows) == list(range(len(lengths)))
    assert (np.diff(counts[rows]) >= 0).all()


def test_each_seed_and_each_epoch_has_an_order_of_its_own() -> None:
    counts = np.arange(500) % 13 + 1
    places = [(seed, epoch) for seed in range(3) for epoch in range(3)]

    orders = {
        tuple(np.concatenate(draw_batches(counts, batch=8, seed=seed, epoch=epoch)).tolist())
        for seed, epoch in places
    }

    assert len(orders) == len(places)


@given(st.integers(1, 500), st.floats(1e-5, 1.0))
def test_the_learning_rate_rises_to_its_height_and_then_falls(total: int, height: float) -> None:
    config = TrainingConfig(learning_rate=height)

    rates = [compute_learning_rate(done, config, peak=height, total=total) for done in range(total)]

    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(height)
    assert all(rate > 0 for rate in rates)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak + 1 :]) < 0).all()
