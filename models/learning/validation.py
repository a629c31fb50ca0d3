"""Scoring: losses and answers of sequences as they are answered in service.

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

from models.learning.batches import gather
from models.learning.callbacks import Judge
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, fed, plain
from models.learning.step import autocast
from models.learning.stream import StreamedSet
from models.networks.ensemble import Ensemble
from models.networks.heads.ctc import NOTHING
from models.networks.network import Network

SCORED = 256
"""Sequences that are scored at once, at least: there are no gradients to hold."""


class Score(NamedTuple):
    """What the validation came to."""

    loss: float
    metric: float | None


@torch.no_grad()
def validate(
    network: Network, sequences: Sequences, config: TrainingConfig, judge: Judge | None = None
) -> Score:
    """Return the mean loss over the sequences, and what their answers are worth."""
    network.eval()
    device = next(network.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    order = plain(sequences, batch=max(config.initial_batch_size, SCORED))
    parts: list[Tensor] = []
    for held, rows in fed(sequences, order):
        batch = gather(held, rows)
        with autocast(device, config):
            encoded = network.encode(batch.values_NC, batch.offsets, batch.statics)
            total += len(rows) * network.loss(encoded, batch.answers).double()
            if judge is not None:
                parts.append(network.head(encoded).float())
    loss = float(total) / len(sequences)
    if judge is None or not math.isfinite(loss):
        return Score(loss, None)
    metric = judge.measure(laid_out(order.steps, parts).cpu().numpy())
    return Score(loss, metric if math.isfinite(metric) else None)


@torch.no_grad()
def predict(network: Network | Ensemble, sequences: Sequences, config: TrainingConfig) -> Tensor:
    """Return the outputs for every sequence in its own place, [S, O].

    Texts end apart from each other: behind the end of one stands `NOTHING`.
    """
    network.eval()
    order = plain(sequences, batch=max(config.initial_batch_size, SCORED))
    parts: list[Tensor] = []
    for held, rows in fed(sequences, order):
        batch = gather(held, rows)
        with autocast(held.values_NC.device, config):
            parts.append(network(batch.values_NC, batch.offsets, batch.statics).float())
    if not parts:
        raise ValueError("there are no sequences to predict")
    return laid_out(order.steps, parts)


def advised(sequences: Sequences, teachers: Ensemble) -> Sequences:
    """Put what an ensemble answers beside the sequences, as they are and not as they are altered.

    The ensemble has to be on the device of the sequences.
    """
    config = TrainingConfig(precision="fp32")
    advice_SO = predict(teachers, replace(sequences, change=None), config)
    if isinstance(sequences, StreamedSet):
        advice_SO = advice_SO.cpu()
    return replace(sequences, advice_SO=advice_SO)


def laid_out(order: Sequence[NDArray[np.int64]], parts: Sequence[Tensor]) -> Tensor:
    """Put the outputs of batches into the places of their rows, [S, O]."""
    widest, count = max(part.shape[1] for part in parts), sum(len(rows) for rows in order)
    outputs_SO = parts[0].new_full((count, widest), NOTHING)
    for rows, part_BO in zip(order, parts, strict=True):
        outputs_SO[torch.from_numpy(rows).to(part_BO.device), : part_BO.shape[1]] = part_BO
    return outputs_SO
