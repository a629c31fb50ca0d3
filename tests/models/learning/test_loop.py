"""Training: every row once an epoch, exact resume, the best weights at the end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DivergedError
from models.learning.batches import Spans, compute_padding_share, draw_batches, gather, to_device
from models.learning.callbacks import smooth_scores
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, fit, predict
from models.networks.config import ModelConfig
from models.networks.network import build_network
from tests.support.learning_fixtures import NO_CHECKPOINTS, ProcessKilledError, draw_sequences
from tests.support.model_parts import build_plain_spec

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


def test_rows_of_similar_length_are_batched_together() -> None:
    draw = np.random.default_rng(0)
    counts = np.exp(draw.normal(3, 0.7, 3000)).astype(np.int64) + 1
    shuffled = [draw.permutation(3000)[start : start + 32] for start in range(0, 3000, 32)]

    bucketed = draw_batches(counts, batch=32, seed=0, epoch=0)

    assert compute_padding_share(counts, bucketed) < 0.1
    assert compute_padding_share(counts, shuffled) > 0.4


@given(st.lists(st.integers(0, 90), min_size=1, max_size=8), st.integers(1, 10))
def test_windows_may_overlap(starts: list[int], length: int) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    start_indices = np.array(starts)
    windows = to_device(
        values, Spans(start_indices, start_indices + length), device=torch.device("cpu")
    )

    batch = gather(windows, np.arange(len(start_indices)))

    expected = np.concatenate([values[start : start + length] for start in starts])
    assert np.array_equal(batch.values_NC.numpy(), expected)
    assert batch.offsets.lengths.tolist() == [length] * len(starts)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=8))
def test_a_batch_contains_the_steps_of_its_rows(rows: list[int]) -> None:
    everything = draw_sequences(20, "category")

    batch = gather(everything, np.array(rows))

    for index, row in enumerate(rows):
        start, stop = everything.spans.starts_S[row], everything.spans.stops_S[row]
        first, last = batch.offsets.bounds[index : index + 2]
        assert torch.equal(batch.values_NC[first:last], everything.values_NC[start:stop])
        assert batch.targets.values_M[index] == everything.targets_M[row]


def new_network(dropout: float = 0.3):
    config = ModelConfig(
        cell="gru", hidden_size=8, bidirectional=True, pooling="mean", dropout=dropout
    )
    return build_network(config, build_plain_spec(2, 2), seed=3)


CONFIG = TrainingConfig(
    epochs=3, patience=3, batch_size=8, learning_rate=0.02, checkpoint_every=0.0
)


def train(network, checkpoints: CheckpointStore = NO_CHECKPOINTS, config: TrainingConfig = CONFIG):
    return fit(
        network,
        draw_sequences(40, "category"),
        draw_sequences(20, "category", seed=1),
        config=config,
        checkpoints=checkpoints,
        callbacks=Callbacks(lambda _: None),
    )[1]


@settings(max_examples=8)
@given(st.integers(1, 15), st.integers(1, 15))
def test_a_training_that_is_killed_after_any_step_ends_with_the_same_weights(
    first: int, second: int
) -> None:
    uninterrupted = new_network()
    whole = train(uninterrupted)
    saved: list[bytes] = []

    def dying(steps: int) -> CheckpointStore:
        left = [steps]

        def save(data: bytes) -> None:
            saved.append(data)
            left[0] -= 1
            if left[0] == 0:
                raise ProcessKilledError

        return CheckpointStore(load=lambda: saved[-1] if saved else None, save=save)

    with pytest.raises(ProcessKilledError):
        train(new_network(), dying(first))
    if first + second <= 15:
        with pytest.raises(ProcessKilledError):
            train(new_network(), dying(second))
    resumed = new_network()
    history = train(resumed, dying(1000))

    assert history == whole
    for name, tensor in uninterrupted.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_network_learns_and_ends_with_its_best_weights() -> None:
    network, validation = new_network(0.0), draw_sequences(20, "category", seed=1)
    config = TrainingConfig(epochs=30, patience=30, batch_size=8, learning_rate=0.02)

    history = train(network, config=config)
    outputs = predict(network, validation, config)

    loss = torch.nn.functional.cross_entropy(outputs, validation.targets_M.long()).item()
    scores = smooth_scores(history, None, rows=20)
    best = history[scores.index(min(scores))]
    assert loss == pytest.approx(best.validation_loss, rel=1e-5)
    assert loss < 0.35


def test_patience_ends_the_training_early() -> None:
    config = TrainingConfig(epochs=200, patience=2, batch_size=8, learning_rate=0.05)

    history = train(new_network(), config=config)

    scores = smooth_scores(history, None, rows=20)
    assert len(history) < 200
    assert len(history) - 1 - scores.index(min(scores)) == 2


def test_a_loss_that_is_not_finite_stops_with_the_rows_of_its_step() -> None:
    broken = new_network()
    with torch.no_grad():
        broken.head.scores.bias.fill_(float("nan"))

    with pytest.raises(DivergedError, match="in step 1 of epoch 1"):
        train(broken)
