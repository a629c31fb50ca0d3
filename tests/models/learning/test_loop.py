"""Learning: every row once an epoch, exact resume, the best weights at the end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DivergedError
from models.learning.batches import Spans, compute_padding_share, draw_batches, gather, to_device
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, fit, predict
from models.networks.config import ModelConfig
from models.networks.network import build_network
from tests.support.learning_fixtures import NOWHERE, PulledPlugError, sequences
from tests.support.model_parts import face

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=60)


@given(lengths, st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_visits_every_row_once_in_an_order_of_seed_and_epoch(
    sizes: list[int], batch: int, seed: int, epoch: int
) -> None:
    counts = np.array(sizes)

    order = draw_batches(counts, batch=batch, seed=seed, epoch=epoch)
    again = draw_batches(counts, batch=batch, seed=seed, epoch=epoch)

    assert sorted(np.concatenate(order)) == list(range(len(sizes)))
    assert all(len(rows) <= batch for rows in order)
    assert [rows.tolist() for rows in order] == [rows.tolist() for rows in again]


def test_rows_of_like_length_go_together() -> None:
    draw = np.random.default_rng(0)
    counts = np.exp(draw.normal(3, 0.7, 3000)).astype(np.int64) + 1
    shuffled = [draw.permutation(3000)[start : start + 32] for start in range(0, 3000, 32)]

    bucketed = draw_batches(counts, batch=32, seed=0, epoch=0)

    assert compute_padding_share(counts, bucketed) < 0.1
    assert compute_padding_share(counts, shuffled) > 0.4


@given(st.lists(st.integers(0, 90), min_size=1, max_size=8), st.integers(1, 10))
def test_windows_may_lie_over_each_other(starts: list[int], length: int) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    begun = np.array(starts)
    windows = to_device(values, Spans(begun, begun + length), device=torch.device("cpu"))

    batch = gather(windows, np.arange(len(begun)))

    expected = np.concatenate([values[start : start + length] for start in starts])
    assert np.array_equal(batch.values_NC.numpy(), expected)
    assert batch.offsets.lengths.tolist() == [length] * len(starts)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=8))
def test_a_batch_holds_the_rows_own_steps(rows: list[int]) -> None:
    everything = sequences(20, "category")

    batch = gather(everything, np.array(rows))

    for place, row in enumerate(rows):
        start, stop = everything.spans.starts_S[row], everything.spans.stops_S[row]
        first, last = batch.offsets.bounds[place : place + 2]
        assert torch.equal(batch.values_NC[first:last], everything.values_NC[start:stop])
        assert batch.targets.values_M[place] == everything.targets_M[row]


def new_network(dropout: float = 0.3):
    config = ModelConfig(
        cell="gru", hidden_size=8, bidirectional=True, pooling="mean", dropout=dropout
    )
    return build_network(config, face(2, 2), seed=3)


CONFIG = TrainingConfig(
    epochs=3, patience=3, batch_size=8, learning_rate=0.02, checkpoint_every=0.0
)


def train(network, checkpoints: CheckpointStore = NOWHERE, config: TrainingConfig = CONFIG):
    return fit(
        network,
        sequences(40, "category"),
        sequences(20, "category", seed=1),
        config=config,
        checkpoints=checkpoints,
        callbacks=Callbacks(lambda _: None),
    )[1]


@settings(max_examples=8)
@given(st.integers(1, 15), st.integers(1, 15))
def test_a_training_that_dies_after_any_step_comes_to_the_same_weights(
    first: int, second: int
) -> None:
    unbroken = new_network()
    whole = train(unbroken)
    kept: list[bytes] = []

    def dying(steps: int) -> CheckpointStore:
        left = [steps]

        def save(data: bytes) -> None:
            kept.append(data)
            left[0] -= 1
            if left[0] == 0:
                raise PulledPlugError

        return CheckpointStore(load=lambda: kept[-1] if kept else None, save=save)

    with pytest.raises(PulledPlugError):
        train(new_network(), dying(first))
    if first + second <= 15:
        with pytest.raises(PulledPlugError):
            train(new_network(), dying(second))
    resumed = new_network()
    history = train(resumed, dying(1000))

    assert history == whole
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_network_learns_what_can_be_learned_and_keeps_its_best_weights() -> None:
    network, validation = new_network(0.0), sequences(20, "category", seed=1)
    config = TrainingConfig(epochs=30, patience=30, batch_size=8, learning_rate=0.02)

    history = train(network, config=config)
    outputs = predict(network, validation, config)

    loss = torch.nn.functional.cross_entropy(outputs, validation.targets_M.long()).item()
    assert loss == pytest.approx(min(epoch.validation_loss for epoch in history), rel=1e-5)
    assert loss < 0.35


def test_patience_ends_the_training_early() -> None:
    config = TrainingConfig(epochs=200, patience=2, batch_size=8, learning_rate=0.05)

    history = train(new_network(), config=config)

    best = min(range(len(history)), key=lambda place: history[place].validation_loss)
    assert len(history) < 200
    assert len(history) - 1 - best == 2


def test_a_loss_that_is_not_finite_stops_with_what_was_seen() -> None:
    broken = new_network()
    with torch.no_grad():
        broken.head.scores.bias.fill_(float("nan"))

    with pytest.raises(DivergedError, match="in step 1 of epoch 1"):
        train(broken)
