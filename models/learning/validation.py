"""Validation and prediction: losses and outputs without dropout or augmentation.

Shapes: B sequences of a batch, O outputs, S sequences of a split.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation.baselines.served import Baseline
from models.learning.batches import gather
from models.learning.callbacks import ValidationMetric
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, draw_sequential, iterate_steps
from models.learning.step import autocast
from models.learning.stream import StreamingSet
from models.networks.blend import Blend, BlendParts
from models.networks.ensemble import Ensemble
from models.networks.heads.ctc import TEXT_PADDING
from models.networks.network import Network
from models.networks.selected_ensemble import SelectedEnsemble

MIN_BATCH = 256
"""Smallest batch for prediction, which stores no gradients."""


class ValidationResult(NamedTuple):
    """Loss and metric of the validation sequences."""

    loss: float
    metric: float | None


@torch.no_grad()
def validate(
    network: Network,
    sequences: Sequences,
    config: TrainingConfig,
    metric: ValidationMetric | None = None,
) -> ValidationResult:
    """Return the mean loss over the sequences, and the metric of their predictions."""
    network.eval()
    device = next(network.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    order = draw_sequential(sequences, batch=max(config.initial_batch_size, MIN_BATCH))
    parts: list[Tensor] = []
    for loaded, rows in iterate_steps(sequences, order):
        batch = gather(loaded, rows)
        with autocast(device, config):
            encoded = network.encode(batch.values_NC, batch.offsets, batch.statics)
            total += len(rows) * network.loss(encoded, batch.targets).double()
            if metric is not None:
                parts.append(network.head(encoded).float())
    loss = float(total) / len(sequences)
    if metric is None or not math.isfinite(loss):
        return ValidationResult(loss, None)
    value = metric.compute(_scatter_batches(order.steps, parts).cpu().numpy())
    return ValidationResult(loss, value if math.isfinite(value) else None)


@torch.no_grad()
def predict(
    network: Network | Ensemble | SelectedEnsemble | Blend | BlendParts | Baseline,
    sequences: Sequences,
    config: TrainingConfig,
) -> Tensor:
    """Return the outputs for all sequences in their order, [S, O].

    Texts have different lengths: after its end each is filled with `TEXT_PADDING`.
    """
    network.eval()
    order = draw_sequential(sequences, batch=max(config.initial_batch_size, MIN_BATCH))
    parts: list[Tensor] = []
    for loaded, rows in iterate_steps(sequences, order):
        batch = gather(loaded, rows)
        with autocast(loaded.values_NC.device, config):
            parts.append(network(batch.values_NC, batch.offsets, batch.statics).float())
    if not parts:
        raise ValueError("there are no sequences to predict")
    return _scatter_batches(order.steps, parts)


def add_teacher_outputs(
    sequences: Sequences, teacher: Network | Ensemble | SelectedEnsemble | Blend | Baseline
) -> Sequences:
    """Return the sequences with the outputs of a teacher for them, without augmentation.

    The teacher has to be on the device of the sequences.
    """
    config = TrainingConfig(precision="fp32")
    teacher_outputs_SO = predict(teacher, replace(sequences, augmentation=None), config)
    if isinstance(sequences, StreamingSet):
        teacher_outputs_SO = teacher_outputs_SO.cpu()
    return replace(sequences, teacher_outputs_SO=teacher_outputs_SO)


def _scatter_batches(order: Sequence[NDArray[np.int64]], parts: Sequence[Tensor]) -> Tensor:
    """Return the outputs of batches in the order of the rows, [S, O]."""
    columns, count = max(part.shape[1] for part in parts), sum(len(rows) for rows in order)
    outputs_SO = parts[0].new_full((count, columns), TEXT_PADDING)
    for rows, part_BO in zip(order, parts, strict=True):
        outputs_SO[torch.from_numpy(rows).to(part_BO.device), : part_BO.shape[1]] = part_BO
    return outputs_SO
