"""Where the sequences are while they are learned from: decided once, the same answer either way."""

from pathlib import Path

import pytest
import torch

from models.features.config import TargetConfig
from models.features.series import SeriesInput
from models.features.splitting.split import TRAINING
from models.learning.config import TrainingConfig
from models.learning.data_source import sample
from models.learning.loop import Watch
from models.learning.stream import StreamedSet
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.records import Facts
from tasks.training.data import load_split
from tasks.training.fit import learn
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


def train(folder: Path, disk: Disk, *, lives: int = 10_000, **settings) -> Facts:
    return learn(
        folder,
        folder / "model",
        model=ModelConfig(hidden_size=8),
        head=HeadConfig(),
        training=TrainingConfig(**({"epochs": 2, "batch": 16, "checkpoint_every": 0.0} | settings)),
        checkpoints=disk.checkpoints(lives=lives),
        watch=Watch(lambda _: None),
    )


def test_the_same_rows_are_read_from_disk(folder: Path) -> None:
    resident, streamed = (load_split(folder, TRAINING, CPU, streamed=way) for way in (False, True))
    rows = torch.arange(0, len(resident), 3).numpy()

    one, other = sample(resident, rows), sample(streamed, rows)

    assert isinstance(streamed, StreamedSet)
    assert torch.equal(one.values_NC, other.values_NC)
    assert torch.equal(one.answers.values_M, other.answers.values_M)


def test_a_model_is_learned_from_disk(folder: Path) -> None:
    resident = train(folder, Disk(), data="resident")
    streamed = train(folder, Disk(), data="streamed")

    assert (resident["data"], streamed["data"]) == ("resident", "streamed")
    assert streamed["validation_loss"] == pytest.approx(resident["validation_loss"], rel=0.3)


def test_a_run_that_goes_on_reads_as_it_did_before_whatever_memory_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr("tasks.training.data_loading.fits", lambda *_: False)
    with pytest.raises(PulledPlugError):
        train(folder, disk, lives=3)
    monkeypatch.setattr("tasks.training.data_loading.fits", lambda *_: True)

    facts = train(folder, disk)
    anew = train(folder, Disk())

    assert (facts["data"], anew["data"]) == ("streamed", "resident")
