"""Training: a killed run ends as an uninterrupted one, for every cell, without side effects."""

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
    NO_CHECKPOINTS,
    CheckpointDisk,
    ProcessKilledError,
    assert_equal_weights,
    build_small_network,
    draw_sequences,
    train,
)
from tests.support.model_parts import build_plain_spec


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (cell, ("number", "category")[index % 2])
        for index, (cell, family) in enumerate(FAMILIES.items())
        if family.reads == "steps"
    ],
)
@settings(max_examples=3)
@given(st.integers(1, 20))
def test_every_cell_resumes_bit_for_bit_from_any_step(cell: str, kind: str, kills: int) -> None:
    uninterrupted, resumed, disk = (
        build_small_network(cell, kind),
        build_small_network(cell, kind),
        CheckpointDisk(),
    )
    whole = train(uninterrupted, kind=kind)

    with pytest.raises(ProcessKilledError):
        train(build_small_network(cell, kind), disk.open_store(max_saves=kills), kind=kind)
    history = train(resumed, disk.open_store(), kind=kind)

    assert history == whole
    assert_equal_weights(resumed, uninterrupted)


def test_a_run_that_is_killed_after_its_best_epoch_still_returns_its_weights() -> None:
    config = TrainingConfig(
        epochs=9,
        patience=9,
        batch_size=4,
        learning_rate=0.3,
        max_grad_norm=50.0,
        checkpoint_every=0.0,
    )
    uninterrupted, resumed, disk = build_small_network(), build_small_network(), CheckpointDisk()
    whole = train(uninterrupted, config=config)
    best = min(range(len(whole)), key=lambda index: whole[index].validation_loss)
    assert best < 7, "the best epoch has to lie before the kill for this test to tell anything"

    with pytest.raises(ProcessKilledError):
        train(build_small_network(), disk.open_store(max_saves=9 * 8 + 4), config=config)
    train(resumed, disk.open_store(), config=config)

    assert_equal_weights(resumed, uninterrupted)


def test_a_run_that_had_stopped_early_trains_no_further_when_resumed() -> None:
    finished, again, disk, epochs = (
        build_small_network(),
        build_small_network(),
        CheckpointDisk(),
        [],
    )
    whole = train(finished, disk.open_store())
    steps = disk.saved

    history = train(again, disk.open_store(), results=epochs)

    assert history == whole
    assert disk.saved == steps
    assert [epoch.epoch for epoch in epochs] == [CONFIG.epochs - 1]
    assert_equal_weights(again, finished)


def test_each_epoch_is_reported_once_even_if_the_run_is_killed() -> None:
    disk, epochs = CheckpointDisk(), []

    with pytest.raises(ProcessKilledError):
        train(build_small_network(), disk.open_store(max_saves=12), results=epochs)
    history = train(build_small_network(), disk.open_store(), results=epochs)

    assert epochs == history
    assert [epoch.epoch for epoch in epochs] == [0, 1, 2, 3]


def test_the_same_seed_trains_the_same_network_and_another_seed_another() -> None:
    first, second, other = build_small_network(), build_small_network(), build_small_network()

    train(first)
    torch.rand(7)
    train(second)
    train(other, config=TrainingConfig(epochs=4, patience=4, batch_size=8, seed=8))

    assert_equal_weights(second, first)
    assert not torch.equal(other.head.scores.weight, first.head.scores.weight)


def test_training_does_not_touch_the_callers_random_state() -> None:
    network = build_small_network()
    torch.manual_seed(5)
    expected = torch.rand(1)

    torch.manual_seed(5)
    train(network)

    assert torch.equal(torch.rand(1), expected)


class Trap:
    """Creates a file when it is unpickled."""

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
        train(build_small_network(), checkpoints)

    assert not mark.exists()


def test_a_diverged_network_is_never_saved() -> None:
    disk, broken = CheckpointDisk(), build_small_network()
    with torch.no_grad():
        broken.head.scores.bias.fill_(float("inf"))

    with pytest.raises(DivergedError, match="in step 1 of epoch 1"):
        train(broken, disk.open_store())

    assert disk.saved == 0


def test_a_validation_loss_that_is_not_finite_stops_the_training() -> None:
    network, validation = build_small_network(kind="number"), draw_sequences(16, "number", seed=1)
    validation.targets_M[3] = float("nan")

    with pytest.raises(DivergedError, match="on the validation rows after epoch 1"):
        fit(
            network,
            draw_sequences(36, "number"),
            validation,
            config=CONFIG,
            checkpoints=NO_CHECKPOINTS,
            callbacks=Callbacks(lambda _: None),
        )


def test_a_learnable_number_is_learned() -> None:
    network = build_network(
        ModelConfig(hidden_size=12, pooling="last"), build_plain_spec(2, 1), seed=0
    )
    config = TrainingConfig(epochs=25, patience=25, batch_size=8, learning_rate=0.02)

    history = train(network, kind="number", config=config)

    variance = float(draw_sequences(16, "number", seed=1).targets_M.var(correction=0))
    assert min(epoch.validation_loss for epoch in history) < 0.25 * variance


def test_bf16_trains_on_the_cpu_too() -> None:
    network = build_small_network()

    history = train(network, config=TrainingConfig(epochs=2, batch_size=8, precision="bf16"))

    assert np.isfinite([epoch.validation_loss for epoch in history]).all()
    assert network.head.scores.weight.dtype == torch.float32


@given(st.integers(1, 40))
def test_every_sequence_gets_its_own_prediction_at_any_length(count: int) -> None:
    network, sequences = build_small_network().eval(), draw_sequences(count, "category")

    together = predict(network, sequences, CONFIG)

    for row in range(count):
        start, stop = int(sequences.spans.starts_S[row]), int(sequences.spans.stops_S[row])
        with torch.no_grad():
            alone = network(sequences.values_NC[start:stop], Offsets.from_lengths([stop - start]))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-5, atol=1e-6)


def test_predicting_no_sequences_is_rejected() -> None:
    empty_set = draw_sequences(3, "category")
    statics = StaticBatch(*(values[:0] for values in empty_set.statics))
    empty = SequenceSet(
        empty_set.values_NC,
        empty_set.spans.select(np.arange(0)),
        empty_set.targets_M[:0],
        empty_set.target_spans.select(np.arange(0)),
        statics,
    )

    with pytest.raises(ValueError, match="no sequences to predict"):
        predict(build_small_network(), empty, CONFIG)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 9))
def test_prediction_reads_each_row_once_with_rows_of_similar_length(
    lengths: list[int], batch: int
) -> None:
    counts = np.array(lengths)

    order = cut_batches(counts, batch=batch)

    rows = np.concatenate(order)
    assert sorted(rows) == list(range(len(lengths)))
    assert (np.diff(counts[rows]) >= 0).all()


def test_each_seed_and_each_epoch_has_an_order_of_its_own() -> None:
    counts = np.arange(500) % 13 + 1
    epochs_of_seeds = [(seed, epoch) for seed in range(3) for epoch in range(3)]

    orders = {
        tuple(np.concatenate(draw_batches(counts, batch=8, seed=seed, epoch=epoch)).tolist())
        for seed, epoch in epochs_of_seeds
    }

    assert len(orders) == len(epochs_of_seeds)


@given(st.integers(1, 500), st.floats(1e-5, 1.0))
def test_the_learning_rate_warms_up_to_its_peak_and_then_decays(total: int, height: float) -> None:
    config = TrainingConfig(learning_rate=height)

    rates = [compute_learning_rate(done, config, peak=height, total=total) for done in range(total)]

    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(height)
    assert all(rate > 0 for rate in rates)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak + 1 :]) < 0).all()
