"""What training learns from: the splits of the features, on the device that learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.features.featurizer import Featurizer, load_featurizer
from models.features.image import AugmentConfig, ImageInput
from models.features.signal import Pixels
from models.features.split import TRAINING
from models.learning import TrainingConfig
from models.learning.batches import Places, SequenceSet, to_device
from models.networks.augment import augment
from tasks.errors import JobError
from tasks.features_files import map_answers, map_steps, read_sequences, side_values


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


def load_split(folder: Path, split: int, device: torch.device) -> SequenceSet:
    """Load one split's sequences; those with a class that training never showed are left out."""
    table = read_sequences(folder, split, learned=True)
    sequences = to_device(
        map_steps(folder),
        Places(table["start"].to_numpy(), table["stop"].to_numpy()),
        answers_M=map_answers(folder),
        answer_places=Places(table["answer_start"].to_numpy(), table["answer_stop"].to_numpy()),
        statics=side_values(table),
        device=device,
    )
    change = augmenter(load_featurizer(folder)) if split == TRAINING else None
    return replace(sequences, change=change)


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
