"""Training from memory or from disk: decided once, with the same result."""

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
from tasks.training.fit import train_network
from tests.support.learning_fixtures import Disk, PulledPlugError
from tests.support.trained_models import ALONE, BY_TIME, features, tagged, tides, weekly

CPU = torch.device("cpu")


@pytest.fixture(params=["windows", "sentences"])
def folder(request, tmp_path: Path) -> Path:
    made = tmp_path / "features"
    if request.param == "windows":
        layout = weekly(SeriesInput(column="sales"), horizon=3)
        features(made, tides(80), layout, TargetConfig(column="sales", kind="forecast"), BY_TIME)
    else:
        features(made, tagged(), ALONE, TargetConfig(column="tags", kind="tags"))
    return made


def train(folder: Path, disk: Disk, *, lives: int = 10_000, **settings) -> CandidateFacts:
    return train_network(
        folder,
        folder / "model",
        model=ModelConfig(hidden_size=8),
        head=HeadConfig(),
        training=TrainingConfig(
            **({"epochs": 2, "batch_size": 16, "checkpoint_every": 0.0} | settings)
        ),
        checkpoints=disk.checkpoints(lives=lives),
        callbacks=Callbacks(lambda _: None),
    )


def test_the_same_rows_are_read_from_disk(folder: Path) -> None:
    in_memory, streaming = (
        load_split(folder, TRAINING, CPU, streaming=way) for way in (False, True)
    )
    rows = torch.arange(0, len(in_memory), 3).numpy()

    one, other = gather_rows(in_memory, rows), gather_rows(streaming, rows)

    assert isinstance(streaming, StreamingSet)
    assert torch.equal(one.values_NC, other.values_NC)
    assert torch.equal(one.targets.values_M, other.targets.values_M)


def test_a_model_is_trained_from_disk(folder: Path) -> None:
    in_memory = train(folder, Disk(), data_loading="in_memory")
    streaming = train(folder, Disk(), data_loading="streaming")

    assert (in_memory.data, streaming.data) == ("in_memory", "streaming")
    assert streaming.validation_loss == pytest.approx(in_memory.validation_loss, rel=0.3)


def test_a_resumed_run_reads_as_before_whatever_memory_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr("tasks.training.data.fits_in_memory", lambda *_: False)
    with pytest.raises(PulledPlugError):
        train(folder, disk, lives=3)
    monkeypatch.setattr("tasks.training.data.fits_in_memory", lambda *_: True)

    facts = train(folder, disk)
    anew = train(folder, Disk())

    assert (facts.data, anew.data) == ("streaming", "in_memory")
