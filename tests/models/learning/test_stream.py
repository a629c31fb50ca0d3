"""Sequences on disk: every row once an epoch, bounded buffers, bit-identical resume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DivergedError
from models.features.static_covariates import StaticCovariates
from models.learning.batches import SequenceSet, gather
from models.learning.config import TrainingConfig
from models.learning.data_placement import fits_in_memory, measure_container_bytes
from models.learning.data_source import (
    count_steps,
    draw_epoch,
    draw_sequential,
    gather_rows,
    iterate_steps,
)
from models.learning.loop import Callbacks, CheckpointStore, EpochResult, fit, predict
from models.learning.plan import load_plan
from models.learning.stream import StreamingSet
from models.learning.validation import validate
from tests.support.learning_fixtures import (
    CONFIG,
    NO_CHECKPOINTS,
    CheckpointDisk,
    ProcessKilledError,
    assert_equal_weights,
    build_small_network,
    draw_sequences,
)

CPU = torch.device("cpu")


def build_streaming_set(
    sequences: SequenceSet, folder: Path | None = None, **sizes: int
) -> StreamingSet:
    """The same sequences, from a file where there is a folder."""
    values = sequences.values_NC.numpy()
    if folder is not None:
        np.save(folder / "steps.npy", values)
        values = np.load(folder / "steps.npy", mmap_mode="r")
    return StreamingSet(
        values_NC=values,
        spans=sequences.spans,
        targets_M=sequences.targets_M.numpy(),
        target_spans=sequences.target_spans,
        statics=StaticCovariates(*(static_values.numpy() for static_values in sequences.statics)),
        device=CPU,
        **({"block_bytes": 64, "buffer_blocks": 3} | sizes),
    )


def windows(count: int, length: int = 12) -> SequenceSet:
    """Overlapping windows of one series, which share their steps."""
    sequences = draw_sequences(count, "number")
    starts = np.arange(count)
    values = torch.randn(count + length, 2, generator=torch.Generator().manual_seed(0))
    return replace(
        sequences, values_NC=values, spans=type(sequences.spans)(starts, starts + length)
    )


@settings(max_examples=40)
@given(
    count=st.integers(1, 90),
    batch=st.integers(1, 20),
    blocks=st.integers(1, 400),
    mixed=st.integers(1, 5),
    overlapping=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_an_epoch_on_disk_visits_every_row_once_in_as_many_steps_as_in_memory(
    count: int, batch: int, blocks: int, mixed: int, overlapping: bool, epoch: int
) -> None:
    sequences = windows(count) if overlapping else draw_sequences(count, "number")
    data = build_streaming_set(sequences, block_bytes=blocks, buffer_blocks=mixed)
    config = TrainingConfig(batch_size=batch)

    order = draw_epoch(data, config, epoch=epoch)

    assert sorted(np.concatenate(order.steps).tolist()) == list(range(count))
    assert len(order.steps) == len(draw_epoch(sequences, config, epoch=epoch).steps)
    assert len(order.steps) == count_steps(data, config)
    assert max(len(rows) for rows in order.steps) <= 2 * batch
    again = draw_epoch(data, config, epoch=epoch)
    assert [rows.tolist() for rows in again.steps] == [rows.tolist() for rows in order.steps]


@settings(max_examples=30)
@given(
    count=st.integers(1, 60),
    batch=st.integers(1, 9),
    overlapping=st.booleans(),
    share=st.floats(0, 1),
)
def test_sequences_from_disk_equal_those_in_memory_from_any_step_on(
    count: int, batch: int, overlapping: bool, share: float
) -> None:
    sequences = windows(count) if overlapping else draw_sequences(count, "number")
    data, config = build_streaming_set(sequences), TrainingConfig(batch_size=batch)
    order = draw_epoch(data, config, epoch=0)
    first = int(share * len(order.steps))

    read = [gather(*step) for step in iterate_steps(data, order, first=first)]

    assert len(read) == len(order.steps) - first
    for rows, batch_read in zip(order.steps[first:], read, strict=True):
        expected = gather(sequences, rows)
        assert torch.equal(batch_read.values_NC, expected.values_NC)
        assert torch.equal(batch_read.targets.values_M, expected.targets.values_M)
        assert np.array_equal(batch_read.offsets.bounds, expected.offsets.bounds)


def test_a_buffer_is_bounded_and_mixes_distant_blocks() -> None:
    sequences = windows(4000)
    data, config = (
        build_streaming_set(sequences, block_bytes=800, buffer_blocks=8),
        TrainingConfig(batch_size=16),
    )

    order = draw_epoch(data, config, epoch=0)

    parts = [part for part, _ in iterate_steps(data, order)]
    max_steps = 8 * 100 + 8 * (12 + 100)
    assert max(len(part.values_NC) for part in parts) <= max_steps
    assert len({id(part) for part in parts}) == len(order.buffer_starts) > 3
    distances = [np.ptp(np.concatenate(order.steps[cut : cut + 5])) for cut in order.buffer_starts]
    assert np.median(distances) > 1000


def test_rows_of_similar_length_are_batched_together_on_disk_too() -> None:
    sequences = draw_sequences(3000, "number")
    order = draw_epoch(
        build_streaming_set(sequences, block_bytes=2**12, buffer_blocks=8),
        TrainingConfig(batch_size=32),
        epoch=0,
    )

    spans = [int(np.ptp(sequences.lengths_S[rows])) for rows in order.steps]

    assert np.mean(spans) < 1.0
    assert np.ptp(sequences.lengths_S) == 5


def test_steps_are_read_from_the_file_and_a_short_file_is_an_error(tmp_path: Path) -> None:
    sequences = draw_sequences(50, "number")
    data, rows = build_streaming_set(sequences, tmp_path), np.array([3, 4, 40, 7])

    read = gather_rows(data, rows)

    assert torch.equal(read.values_NC, gather(sequences, rows).values_NC)
    with (tmp_path / "steps.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(OSError, match="shorter than it was"):
        gather_rows(data, rows)


def train(
    network, data, checkpoints: CheckpointStore = NO_CHECKPOINTS, **settings
) -> list[EpochResult]:
    validation = build_streaming_set(draw_sequences(16, "category", seed=1))
    config = replace(CONFIG, **settings)
    silent = Callbacks(lambda _: None)
    return fit(network, data, validation, config=config, checkpoints=checkpoints, callbacks=silent)[
        1
    ]


@pytest.mark.parametrize("sampler", ["random", "balanced"])
@settings(max_examples=3)
@given(lives=st.integers(1, 19))
def test_a_streaming_run_resumes_bit_for_bit_in_the_middle_of_a_buffer(
    sampler: str, lives: int
) -> None:
    data = build_streaming_set(draw_sequences(36, "category"))
    uninterrupted, resumed, disk = build_small_network(), build_small_network(), CheckpointDisk()
    whole = train(uninterrupted, data, sampler=sampler)

    with pytest.raises(ProcessKilledError):
        train(build_small_network(), data, disk.open_store(max_saves=lives), sampler=sampler)
    stored_plan = load_plan(disk.open_store())
    history = train(resumed, data, disk.open_store(), sampler=sampler)

    assert stored_plan is not None
    assert stored_plan.is_streaming
    assert history == whole
    assert_equal_weights(resumed, uninterrupted)


def test_losses_and_predictions_do_not_depend_on_where_the_sequences_are() -> None:
    sequences, network = draw_sequences(300, "category"), build_small_network().eval()
    data = build_streaming_set(sequences)

    assert len(draw_sequential(data, batch=256).buffer_starts) > 5
    torch.testing.assert_close(predict(network, data, CONFIG), predict(network, sequences, CONFIG))
    assert validate(network, data, CONFIG).loss == pytest.approx(
        validate(network, sequences, CONFIG).loss, rel=1e-6
    )


def test_balanced_sampling_works_on_disk_too() -> None:
    sequences = draw_sequences(2000, "category")
    sequences.targets_M[:] = (torch.arange(2000) < 100).float()
    data = build_streaming_set(sequences, block_bytes=2**9, buffer_blocks=4)

    steps = [
        rows
        for epoch in range(3)
        for rows in draw_epoch(
            data, TrainingConfig(batch_size=20, sampler="balanced"), epoch=epoch
        ).steps
    ]

    assert len(steps) == 300
    assert 0.45 < (np.concatenate(steps) < 100).mean() < 0.55


def test_the_rows_of_a_diverged_step_are_reported_on_disk_too() -> None:
    sequences = draw_sequences(36, "number")
    sequences.targets_M[17] = float("inf")

    with pytest.raises(DivergedError, match="in step") as caught:
        train(
            build_small_network(kind="number"),
            build_streaming_set(sequences),
            checkpoint_every=100.0,
        )

    assert 17 in caught.value.rows


def test_sequences_may_take_half_of_the_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.learning.data_placement.measure_container_bytes", lambda _: 1000)

    assert fits_in_memory(500, CPU)
    assert not fits_in_memory(501, CPU)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1200\n")
    assert measure_container_bytes(tmp_path) == 3800
    (tmp_path / "memory.max").write_text("max\n")
    assert measure_container_bytes(tmp_path) > 2**60
