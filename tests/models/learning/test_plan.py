"""What is planned before a training: batch size, precision and kernels."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.learning import batch_size
from models.learning import precision as precisions
from models.learning.batch_size import find_batch_size, list_batch_sizes
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, fit
from models.learning.plan import TrainingPlan, load_plan, make_plan
from models.learning.precision import choose_precision
from models.networks.config import ModelConfig
from tests.support.learning_fixtures import (
    CONFIG,
    CheckpointDisk,
    ProcessKilledError,
    assert_equal_weights,
    build_small_network,
    draw_sequences,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
AUTO = replace(CONFIG, batch_size="fastest")


def measured(monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float]) -> list[int]:
    """Set the speed of each batch size, 0 where it does not fit; return the sizes tried."""
    tried: list[int] = []

    def timed(_network: object, _training: object, config: TrainingConfig) -> float:
        tried.append(config.initial_batch_size)
        if not speeds.get(config.initial_batch_size):
            raise torch.OutOfMemoryError
        return speeds[config.initial_batch_size]

    monkeypatch.setattr(batch_size, "_time_steps", timed)
    return tried


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({16: 1.0, 32: 2.0, 64: 3.0, 128: 3.1, 256: 9.0}, 64),
        ({16: 1.0, 32: 2.0, 64: 4.0}, 64),
        ({16: 1.0, 32: 1.0}, 16),
        ({4: 1.0, 2: 1.0}, 4),
        ({1: 1.0}, 1),
    ],
)
def test_the_largest_batch_that_is_faster_and_fits_is_chosen(
    monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float], expected: int
) -> None:
    tried = measured(monkeypatch, speeds)

    result = find_batch_size(build_small_network(), draw_sequences(20_000, "category"), AUTO)

    assert result == expected
    assert len(tried) == len(set(tried))


@given(rows=st.integers(1, 10**6), accumulate=st.integers(1, 8))
def test_a_larger_batch_leaves_an_epoch_enough_steps(rows: int, accumulate: int) -> None:
    assert all(rows // (size * accumulate) >= 50 for size in list_batch_sizes(rows, accumulate))
    assert len(list_batch_sizes(50 * 512 * accumulate, accumulate)) == 5


def test_measuring_does_not_change_the_network() -> None:
    network, before = build_small_network(), build_small_network()

    plan = make_plan(network, draw_sequences(2000, "category"), draw_sequences(8, "category"), AUTO)

    assert plan.batch_size in {16, 32}
    assert plan.steps == -(-2000 // plan.batch_size)
    assert_equal_weights(network, before)


def test_a_resumed_run_has_the_same_batch_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(checkpoints: CheckpointStore) -> tuple[TrainingPlan, object]:
        network = build_small_network()
        data, few = draw_sequences(2000, "category"), draw_sequences(8, "category")
        silent = Callbacks(lambda _: None)
        config = replace(AUTO, epochs=1)
        plan, _ = fit(network, data, few, config=config, checkpoints=checkpoints, callbacks=silent)
        return plan, network

    disk = CheckpointDisk()
    measured(monkeypatch, {16: 1.0, 32: 2.0})
    whole, expected = train(CheckpointDisk().open_store())
    with pytest.raises(ProcessKilledError):
        train(disk.open_store(max_saves=20))
    tried = measured(monkeypatch, {16: 1.0})

    resumed, result = train(disk.open_store())

    assert not tried
    assert resumed == whole
    assert resumed.batch_size == 32
    assert_equal_weights(result, expected)


def test_a_plan_is_followed_without_its_kernels(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, tried = build_small_network(), measured(monkeypatch, {})
    data, few = draw_sequences(200, "category"), draw_sequences(8, "category")
    plan = TrainingPlan(
        2, 7, 0.01, is_streaming=False, batch_size=16, precision="fp32", kernels="gone"
    )

    done, history = fit(
        network,
        data,
        few,
        config=AUTO,
        checkpoints=CheckpointDisk().open_store(),
        callbacks=Callbacks(lambda _: None),
        plan=plan,
    )

    assert not tried
    assert done._replace(kernels="gone") == plan
    assert done.kernels != "gone"
    assert len(history) == 2
    assert "the kernels that this model was trained with are not available" in caplog.text


def test_precision_depends_only_on_the_cpu_the_cell_and_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precisions, "BF16_MIN_HIDDEN_SIZE", {"lstm": 256})
    wide, narrow = (
        ModelConfig(cell="lstm", hidden_size=256),
        ModelConfig(cell="lstm", hidden_size=128),
    )
    with_peepholes = ModelConfig(cell="lstm", hidden_size=256, peephole=True)
    other, open_ = ModelConfig(cell="gru", hidden_size=512), TrainingConfig()

    monkeypatch.setattr(precisions, "has_amx", lambda: True)
    result = [
        choose_precision(open_, model, CPU, None) for model in (wide, narrow, other, with_peepholes)
    ]

    assert result == ["bf16", "fp32", "fp32", "fp32"]
    assert choose_precision(open_, narrow, CUDA, None) == "bf16"
    assert choose_precision(TrainingConfig(precision="fp32"), wide, CPU, None) == "fp32"
    monkeypatch.setattr(precisions, "has_amx", lambda: False)
    assert choose_precision(open_, wide, CPU, None) == "fp32"
    resumed_plan = TrainingPlan(1, 1, 0.1, is_streaming=False, batch_size=64, precision="bf16")
    assert choose_precision(open_, narrow, CPU, resumed_plan) == "bf16"


def test_without_a_checkpoint_there_is_no_plan() -> None:
    assert load_plan(CheckpointDisk().open_store()) is None
