"""Sequences on disk: every row once an epoch, bounded buffers, the same bits over a kill."""

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
    NOWHERE,
    Disk,
    PulledPlugError,
    assert_equal_weights,
    new_network,
    sequences,
)

CPU = torch.device("cpu")


def streamed(held: SequenceSet, folder: Path | None = None, **sizes: int) -> StreamingSet:
    """The same sequences, from a file where there is a folder."""
    values = held.values_NC.numpy()
    if folder is not None:
        np.save(folder / "steps.npy", values)
        values = np.load(folder / "steps.npy", mmap_mode="r")
    return StreamingSet(
        values_NC=values,
        spans=held.spans,
        targets_M=held.targets_M.numpy(),
        target_spans=held.target_spans,
        statics=StaticCovariates(*(beside.numpy() for beside in held.statics)),
        device=CPU,
        **({"block_bytes": 64, "buffer_blocks": 3} | sizes),
    )


def windows(count: int, length: int = 12) -> SequenceSet:
    """Overlapping windows of one series, which share their steps."""
    held = sequences(count, "number")
    starts = np.arange(count)
    values = torch.randn(count + length, 2, generator=torch.Generator().manual_seed(0))
    return replace(held, values_NC=values, spans=type(held.spans)(starts, starts + length))


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
    held = windows(count) if overlapping else sequences(count, "number")
    data = streamed(held, block_bytes=blocks, buffer_blocks=mixed)
    config = TrainingConfig(batch_size=batch)

    order = draw_epoch(data, config, epoch=epoch)

    assert sorted(np.concatenate(order.steps).tolist()) == list(range(count))
    assert len(order.steps) == len(draw_epoch(held, config, epoch=epoch).steps)
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
def test_what_is_read_from_disk_is_what_lies_in_memory_from_any_step_on(
    count: int, batch: int, overlapping: bool, share: float
) -> None:
    held = windows(count) if overlapping else sequences(count, "number")
    data, config = streamed(held), TrainingConfig(batch_size=batch)
    order = draw_epoch(data, config, epoch=0)
    first = int(share * len(order.steps))

    read = [gather(*step) for step in iterate_steps(data, order, first=first)]

    assert len(read) == len(order.steps) - first
    for rows, batch_read in zip(order.steps[first:], read, strict=True):
        expected = gather(held, rows)
        assert torch.equal(batch_read.values_NC, expected.values_NC)
        assert torch.equal(batch_read.targets.values_M, expected.targets.values_M)
        assert np.array_equal(batch_read.offsets.bounds, expected.offsets.bounds)


def test_a_buffer_holds_no_more_than_it_may_and_mixes_blocks_from_afar() -> None:
    held = windows(4000)
    data, config = streamed(held, block_bytes=800, buffer_blocks=8), TrainingConfig(batch_size=16)

    order = draw_epoch(data, config, epoch=0)

    parts = [part for part, _ in iterate_steps(data, order)]
    room = 8 * 100 + 8 * (12 + 100)
    assert max(len(part.values_NC) for part in parts) <= room
    assert len({id(part) for part in parts}) == len(order.cuts) > 3
    reach = [np.ptp(np.concatenate(order.steps[cut : cut + 5])) for cut in order.cuts]
    assert np.median(reach) > 1000


def test_rows_of_like_length_go_together_on_disk_too() -> None:
    held = sequences(3000, "number")
    order = draw_epoch(
        streamed(held, block_bytes=2**12, buffer_blocks=8), TrainingConfig(batch_size=32), epoch=0
    )

    spans = [int(np.ptp(held.lengths_S[rows])) for rows in order.steps]

    assert np.mean(spans) < 1.0
    assert np.ptp(held.lengths_S) == 5


def test_steps_are_read_from_the_file_and_a_short_file_is_noticed(tmp_path: Path) -> None:
    held = sequences(50, "number")
    data, rows = streamed(held, tmp_path), np.array([3, 4, 40, 7])

    read = gather_rows(data, rows)

    assert torch.equal(read.values_NC, gather(held, rows).values_NC)
    with (tmp_path / "steps.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(OSError, match="shorter than it was"):
        gather_rows(data, rows)


def train(network, data, checkpoints: CheckpointStore = NOWHERE, **settings) -> list[EpochResult]:
    validation = streamed(sequences(16, "category", seed=1))
    config = replace(CONFIG, **settings)
    silent = Callbacks(lambda _: None)
    return fit(network, data, validation, config=config, checkpoints=checkpoints, callbacks=silent)[
        1
    ]


@pytest.mark.parametrize("sampler", ["random", "balanced"])
@settings(max_examples=3)
@given(lives=st.integers(1, 19))
def test_a_run_on_disk_resumes_to_the_bit_in_the_middle_of_a_buffer(
    sampler: str, lives: int
) -> None:
    data = streamed(sequences(36, "category"))
    unbroken, resumed, disk = new_network(), new_network(), Disk()
    whole = train(unbroken, data, sampler=sampler)

    with pytest.raises(PulledPlugError):
        train(new_network(), data, disk.checkpoints(lives=lives), sampler=sampler)
    kept = load_plan(disk.checkpoints())
    history = train(resumed, data, disk.checkpoints(), sampler=sampler)

    assert kept is not None
    assert kept.is_streaming
    assert history == whole
    assert_equal_weights(resumed, unbroken)


def test_scores_and_answers_do_not_depend_on_where_the_sequences_are() -> None:
    held, network = sequences(300, "category"), new_network().eval()
    data = streamed(held)

    assert len(draw_sequential(data, batch=256).cuts) > 5
    torch.testing.assert_close(predict(network, data, CONFIG), predict(network, held, CONFIG))
    assert validate(network, data, CONFIG).loss == pytest.approx(
        validate(network, held, CONFIG).loss, rel=1e-6
    )


def test_balanced_rows_come_equally_often_from_disk_too() -> None:
    held = sequences(2000, "category")
    held.targets_M[:] = (torch.arange(2000) < 100).float()
    data = streamed(held, block_bytes=2**9, buffer_blocks=4)

    steps = [
        rows
        for epoch in range(3)
        for rows in draw_epoch(
            data, TrainingConfig(batch_size=20, sampler="balanced"), epoch=epoch
        ).steps
    ]

    assert len(steps) == 300
    assert 0.45 < (np.concatenate(steps) < 100).mean() < 0.55


def test_the_rows_of_a_step_that_diverged_are_named_on_disk_too() -> None:
    held = sequences(36, "number")
    held.targets_M[17] = float("inf")

    with pytest.raises(DivergedError, match="in step") as caught:
        train(new_network(goal="number"), streamed(held), checkpoint_every=100.0)

    assert 17 in caught.value.rows


def test_half_of_the_free_memory_is_for_sequences(
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
