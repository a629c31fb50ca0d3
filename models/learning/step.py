"""One step of learning: a batch, its loss, its gradients, and the weights moved along them."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.learning.batches import SequenceSet, epoch_order, gather
from models.learning.config import TrainingConfig
from models.learning.weights import Weights
from models.networks.network import Network

if TYPE_CHECKING:
    from models.learning.stream import StreamedSet

ADVICE = 0.5
"""Share of the loss that is for answering as an ensemble does, where one is learned from."""


def orders(training: SequenceSet, config: TrainingConfig, *, epoch: int) -> list[NDArray[np.int64]]:
    """Draw the rows of each step of an epoch."""
    shares_S = balanced(training) if config.sampler == "balanced" else None
    return epoch_order(
        training.lengths_S,
        batch=config.unit,
        seed=config.seed,
        epoch=epoch,
        shares_S=shares_S,
    )


def balanced(training: "SequenceSet | StreamedSet") -> NDArray[np.float64]:
    """Return each row's chance to be drawn, so that all classes are drawn equally often."""
    codes_S = training.answers(np.arange(len(training))).values_M.cpu().numpy().astype(np.int64)
    counts = np.bincount(codes_S)
    return np.asarray(1.0 / (np.count_nonzero(counts) * counts[codes_S]))


def step(
    network: Network,
    weights: Weights,
    training: SequenceSet,
    *,
    rows: NDArray[np.int64],
    rate: float,
    config: TrainingConfig,
) -> Tensor:
    """Learn from the rows of one step and return their mean loss, still on the device.

    The network has to be in training.
    """
    weights.clear()
    size = config.initial_batch_size
    parts = [rows[cut : cut + size] for cut in range(0, len(rows), size)]
    losses = []
    for part in parts:
        loss = loss_of(network, training, part, config) * (len(part) / len(rows))
        loss.backward()
        losses.append(loss.detach().double())
    weights.move(rate)
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def loss_of(
    network: Network, sequences: SequenceSet, rows: NDArray[np.int64], config: TrainingConfig
) -> Tensor:
    """Return the mean loss of one batch."""
    batch = gather(sequences, rows)
    with autocast(sequences.values_NC.device, config):
        encoded = network.encode(batch.values_NC, batch.offsets, batch.statics)
        loss = network.loss(encoded, batch.answers)
        if batch.advice_BO is None:
            return loss
        return torch.lerp(loss, network.head.unlike(encoded, batch.advice_BO), ADVICE)


def autocast(device: torch.device, config: TrainingConfig) -> Any:  # noqa: ANN401 - two managers
    """Compute in bf16 where the job or the device asks for it."""
    wanted = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()
