"""What training learns from: the splits of the features, on the device that learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.features.feature_spec import Pixels
from models.features.featurizer import Featurizer, load_featurizer
from models.features.image import AugmentConfig, ImageInput
from models.features.splitting.split import TRAINING, VALIDATION
from models.learning.batches import Places, to_device
from models.learning.config import TrainingConfig
from models.learning.data_placement import fits
from models.learning.data_source import Sequences
from models.learning.plan import Plan
from models.learning.stream import StreamedSet
from models.networks.inputs.augment import augment
from tasks.dataset.feature_files import map_answers, map_steps, read_sequences, side_values
from tasks.errors import JobError

COLUMNS = ("^(start|stop|answer_start|answer_stop|code_.*|number_.*)$",)
"""Of the sequences' table what is learned from: the answers as they were written are long."""


def pick_device(config: TrainingConfig) -> torch.device:
    """Choose where to train.

    Raises:
        JobError: the job asks for a GPU that is not there.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise JobError.of(
            "training.device: 'cuda', but torch finds no GPU here",
            mend="set training.device: auto, or run where there is one",
        )
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def is_streamed(
    folder: Path, training: TrainingConfig, device: torch.device, kept: Plan | None
) -> bool:
    """Decide whether the steps stay on disk; a run that goes on reads them as it did before."""
    if kept is not None:
        return kept.streamed
    if training.data_loading != "auto":
        return training.data_loading == "streaming"
    size = sum((folder / name).stat().st_size for name in ("steps.npy", "answers.npy"))
    return not fits(size, device)


def load_split(
    folder: Path, split: int, device: torch.device, *, streamed: bool = False
) -> Sequences:
    """Load one split's sequences; those with a class that training never showed are left out."""
    table = read_sequences(folder, split, learned=True, columns=COLUMNS)
    places = Places(table["start"].to_numpy(), table["stop"].to_numpy())
    answer_places = Places(table["answer_start"].to_numpy(), table["answer_stop"].to_numpy())
    change = augmenter(load_featurizer(folder)) if split == TRAINING else None
    if streamed:
        return StreamedSet(
            values_NC=map_steps(folder),
            places=places,
            answers_M=map_answers(folder),
            answer_places=answer_places,
            statics=side_values(table),
            device=device,
            change=change,
        )
    sequences = to_device(
        map_steps(folder),
        places,
        answers_M=map_answers(folder),
        answer_places=answer_places,
        statics=side_values(table),
        device=device,
    )
    return replace(sequences, change=change)


def load_splits(
    folder: Path, device: torch.device, *, streamed: bool
) -> tuple[Sequences, Sequences]:
    """Load what is learned from, and what it is validated on."""
    training, validation = (
        load_split(folder, split, device, streamed=streamed) for split in (TRAINING, VALIDATION)
    )
    return training, validation


def augmenter(featurizer: Featurizer) -> Callable[[Tensor], Tensor] | None:
    """Make the function that alters training images, where the job asks for it.

    It draws from torch's own stream, which a checkpoint holds.
    """
    signal, read = featurizer.signal, featurizer.layout.input
    if not (isinstance(signal, Pixels) and isinstance(read, ImageInput)):
        return None
    if read.augment == AugmentConfig():
        return None

    def change(values_NC: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return augment(values_NC, signal, read.augment, generator=generator)

    return change
