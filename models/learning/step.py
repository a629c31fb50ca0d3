"""One optimizer step: batches, their loss, gradients, and the update of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.learning.batches import SequenceSet, draw_batches, gather
from models.learning.config import TrainingConfig
from models.learning.optimizer import Optimizer
from models.networks.network import Network

if TYPE_CHECKING:
    from models.learning.stream import StreamingSet

DISTILLATION_SHARE = 0.5
"""Share of the distillation loss in the total loss, where there is a teacher."""


def draw_steps(
    training: SequenceSet, config: TrainingConfig, *, epoch: int
) -> list[NDArray[np.int64]]:
    """Draw the rows of each step of an epoch, in memory."""
    probabilities_S = balance_classes(training) if config.sampler == "balanced" else None
    return draw_batches(
        training.lengths_S,
        batch=config.sequences_per_step,
        seed=config.seed,
        epoch=epoch,
        probabilities_S=probabilities_S,
    )


def balance_classes(training: "SequenceSet | StreamingSet") -> NDArray[np.float64]:
    """Return the sampling probabilities of the rows that draw all classes equally often, [S]."""
    codes_S = (
        training.select_targets(np.arange(len(training))).values_M.cpu().numpy().astype(np.int64)
    )
    counts = np.bincount(codes_S)
    return np.asarray(1.0 / (np.count_nonzero(counts) * counts[codes_S]))


def take_step(
    network: Network,
    optimizer: Optimizer,
    sequences: SequenceSet,
    *,
    rows: NDArray[np.int64],
    learning_rate: float,
    config: TrainingConfig,
) -> Tensor:
    """Update the weights by the rows of one step; return their mean loss, on the device.

    The network has to be in training mode.
    """
    optimizer.zero_grad()
    batch_size = config.initial_batch_size
    parts = [rows[cut : cut + batch_size] for cut in range(0, len(rows), batch_size)]
    losses = []
    for part in parts:
        loss = compute_loss(network, sequences, part, config) * (len(part) / len(rows))
        loss.backward()
        losses.append(loss.detach().double())
    optimizer.step(learning_rate)
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def compute_loss(
    network: Network, sequences: SequenceSet, rows: NDArray[np.int64], config: TrainingConfig
) -> Tensor:
    """Return the mean loss of one batch."""
    batch = gather(sequences, rows)
    with autocast(sequences.values_NC.device, config):
        encoded = network.encode(batch.values_NC, batch.offsets, batch.statics)
        loss = network.loss(encoded, batch.targets)
        if batch.teacher_outputs_BO is None:
            return loss
        return torch.lerp(
            loss,
            network.head.distillation_loss(encoded, batch.teacher_outputs_BO),
            DISTILLATION_SHARE,
        )


def autocast(device: torch.device, config: TrainingConfig) -> Any:  # noqa: ANN401 - two managers
    """Return the context that computes in bf16 where the settings or the device require it."""
    use_bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if use_bf16 else nullcontext()


MIN_PARALLEL_STEPS = 1_024
"""Time steps in a batch from which on torch computes it on several threads."""


@contextmanager
def limit_threads(batch_steps: float) -> Iterator[None]:
    """Compute on one thread where a batch has few time steps: more would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if batch_steps >= MIN_PARALLEL_STEPS else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
