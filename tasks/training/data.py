"""The data of training: the splits of the features, on the device or streamed from disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.features.feature_spec import Pixels
from models.features.featurizer import Featurizer, load_featurizer
from models.features.image import AugmentConfig, ImageInput
from models.features.splitting.split import TRAINING, VALIDATION
from models.learning.batches import Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.data_placement import fits_in_memory
from models.learning.data_source import Sequences
from models.learning.plan import TrainingPlan
from models.learning.stream import StreamingSet
from models.networks.inputs.augment import augment
from tasks.dataset.feature_files import (
    map_steps,
    map_targets,
    read_sequences,
    read_static_covariates,
)
from tasks.errors import JobError

_COLUMNS = ("^(start|stop|target_start|target_stop|code_.*|number_.*)$",)
"""Columns of the sequences' table that training needs: targets as text would take much memory."""


def choose_device(config: TrainingConfig) -> torch.device:
    """Choose where to train.

    Raises:
        JobError: the job needs a GPU, and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise JobError.of(
            "training.device: 'cuda', but torch finds no GPU here",
            hint="set training.device: auto, or run where there is one",
        )
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def should_stream(
    features_dir: Path, training: TrainingConfig, device: torch.device, plan: TrainingPlan | None
) -> bool:
    """Decide whether the steps stay on disk; a resumed run follows its plan."""
    if plan is not None:
        return plan.is_streaming
    if training.data_loading != "auto":
        return training.data_loading == "streaming"
    size = sum((features_dir / name).stat().st_size for name in ("steps.npy", "targets.npy"))
    return not fits_in_memory(size, device)


def load_split(
    features_dir: Path, *splits: int, device: torch.device, streaming: bool = False
) -> Sequences:
    """Load the sequences of splits, one after the other, without classes unseen in training.

    Where the training split is among them, images are augmented.
    """
    table = pl.concat(
        read_sequences(features_dir, split, known_only=True, columns=_COLUMNS) for split in splits
    )
    spans = Spans(table["start"].to_numpy(), table["stop"].to_numpy())
    target_spans = Spans(table["target_start"].to_numpy(), table["target_stop"].to_numpy())
    augmentation = (
        _build_augmentation(load_featurizer(features_dir)) if TRAINING in splits else None
    )
    if streaming:
        return StreamingSet(
            values_NC=map_steps(features_dir),
            spans=spans,
            targets_M=map_targets(features_dir),
            target_spans=target_spans,
            statics=read_static_covariates(table),
            device=device,
            augmentation=augmentation,
        )
    sequences = to_device(
        map_steps(features_dir),
        spans,
        targets_M=map_targets(features_dir),
        target_spans=target_spans,
        statics=read_static_covariates(table),
        device=device,
    )
    return replace(sequences, augmentation=augmentation)


def load_splits(
    features_dir: Path, device: torch.device, *, streaming: bool
) -> tuple[Sequences, Sequences]:
    """Load the training and the validation split."""
    training, validation = (
        load_split(features_dir, split, device=device, streaming=streaming)
        for split in (TRAINING, VALIDATION)
    )
    return training, validation


def choose_windows(
    count: int, featurizer: Featurizer, training: TrainingConfig
) -> NDArray[np.int64] | None:
    """Choose the training windows that are learned from, evenly spread; None for all of them."""
    most = training.max_windows
    if featurizer.layout.window is None or most is None or count <= most:
        return None
    return np.linspace(0, count - 1, most).round().astype(np.int64)


def _build_augmentation(featurizer: Featurizer) -> Callable[[Tensor], Tensor] | None:
    """Build the function that augments training images; None where the job has no augmentation.

    It draws from torch's global generator, whose state is part of a checkpoint.
    """
    signal, read = featurizer.feature_spec, featurizer.layout.input
    if not (isinstance(signal, Pixels) and isinstance(read, ImageInput)):
        return None
    if read.augment == AugmentConfig():
        return None

    def augment_batch(values_NC: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return augment(values_NC, signal, read.augment, generator=generator)

    return augment_batch
