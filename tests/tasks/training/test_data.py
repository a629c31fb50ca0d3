"""Training reads from memory or streams from disk: decided once, with the same rows."""

from pathlib import Path

import pytest
import torch

from models.features.config import TargetConfig
from models.features.series import SeriesInput
from models.features.splitting.split import TRAINING
from models.learning.config import TrainingConfig
from models.learning.data_source import gather_rows
from models.learning.loop import Callbacks
from models.learning.stream import StreamingSet
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.facts import CandidateFacts
from tasks.training.data import load_split
from tasks.training.train import train_network
from tests.support.learning_fixtures import CheckpointDisk, ProcessKilledError
from tests.support.trained_models import (
    BY_TIME,
    TEXT_LAYOUT,
    build_weekly_layout,
    make_tagged_texts,
    make_weekly_sales,
    write_features,
)

CPU = torch.device("cpu")


@pytest.fixture(params=["windows", "sentences"])
def folder(request, tmp_path: Path) -> Path:
    features = tmp_path / "features"
    if request.param == "windows":
        layout = build_weekly_layout(SeriesInput(column="sales"), horizon=3)
        write_features(
            features,
            make_weekly_sales(80),
            layout,
            TargetConfig(column="sales", kind="forecast"),
            BY_TIME,
        )
    else:
        write_features(
            features, make_tagged_texts(), TEXT_LAYOUT, TargetConfig(column="tags", kind="tags")
        )
    return features


def train(
    folder: Path, disk: CheckpointDisk, *, max_saves: int = 10_000, **settings
) -> CandidateFacts:
    return train_network(
        folder,
        folder / "model",
        model=ModelConfig(hidden_size=8),
        head=HeadConfig(),
        training=TrainingConfig(
            **({"epochs": 2, "batch_size": 16, "checkpoint_every": 0.0} | settings)
        ),
        checkpoints=disk.open_store(max_saves=max_saves),
        callbacks=Callbacks(lambda _: None),
    )


def test_the_same_rows_are_read_from_disk(folder: Path) -> None:
    in_memory, streaming = (
        load_split(folder, TRAINING, device=CPU, streaming=streaming) for streaming in (False, True)
    )
    rows = torch.arange(0, len(in_memory), 3).numpy()

    one, other = gather_rows(in_memory, rows), gather_rows(streaming, rows)

    assert isinstance(streaming, StreamingSet)
    assert torch.equal(one.values_NC, other.values_NC)
    assert torch.equal(one.targets.values_M, other.targets.values_M)


def test_a_model_is_trained_from_disk(folder: Path) -> None:
    in_memory = train(folder, CheckpointDisk(), data_loading="in_memory")
    streaming = train(folder, CheckpointDisk(), data_loading="streaming")

    assert (in_memory.data_loading, streaming.data_loading) == ("in_memory", "streaming")
    assert streaming.validation_loss == pytest.approx(in_memory.validation_loss, rel=0.3)


def test_a_resumed_run_streams_as_before_even_if_memory_is_enough(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = CheckpointDisk()
    monkeypatch.setattr("tasks.training.data.fits_in_memory", lambda *_: False)
    with pytest.raises(ProcessKilledError):
        train(folder, disk, max_saves=3)
    monkeypatch.setattr("tasks.training.data.fits_in_memory", lambda *_: True)

    facts = train(folder, disk)
    fresh = train(folder, CheckpointDisk())

    assert (facts.data_loading, fresh.data_loading) == ("streaming", "in_memory")
