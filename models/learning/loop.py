"""The training loop: an ordinary `for`, resumable after any step.

Shapes: B sequences, O outputs.
"""

import copy
import io
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import DivergedError
from models.learning import TrainingConfig
from models.learning.batches import SequenceSet, epoch_order, gather, plain_order
from models.networks.heads.ctc import NOTHING
from models.networks.network import Network

WARMUP_SHARE = 0.05
FINAL_RATE = 0.05


class Epoch(NamedTuple):
    """What one epoch came to."""

    epoch: int
    training_loss: float
    validation_loss: float


class Checkpoints(NamedTuple):
    """Where the loop leaves its state, and finds it."""

    load: Callable[[], bytes | None]
    save: Callable[[bytes], None]


@dataclass(slots=True)
class Progress:
    """Where the loop stands, between two steps."""

    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done."""
    loss: float | Tensor = 0.0
    """Sum of the losses of this epoch's sequences so far."""
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = -1
    best_loss: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def is_over(self, config: TrainingConfig) -> bool:
        """Tell whether the epochs or the patience are used up."""
        waited = self.epoch - 1 - self.best_epoch
        return self.epoch >= config.epochs or waited >= config.patience


def fit(
    network: Network,
    training: SequenceSet,
    validation: SequenceSet,
    *,
    config: TrainingConfig,
    checkpoints: Checkpoints,
    on_epoch: Callable[[Epoch], None],
) -> list[Epoch]:
    """Train the network and leave it with the weights of its best epoch.

    Raises:
        DivergedError: the loss stopped being finite.
    """
    device = training.values_NC.device
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    lengths_S = training.lengths_S
    progress = Progress(loss=torch.zeros((), dtype=torch.float64, device=device))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if state := checkpoints.load():
            progress = restore(state, network, optimizer)
        save = saver(network, optimizer, config, checkpoints)
        while not progress.is_over(config):
            order = epoch_order(
                lengths_S, batch=config.batch, seed=config.seed, epoch=progress.epoch
            )
            first, total = progress.epoch * len(order), config.epochs * len(order)
            for place in range(progress.batch, len(order)):
                rows, rate = order[place], learning_rate(first + place, config, total=total)
                loss = step(network, optimizer, training, rows=rows, rate=rate, config=config)
                progress.loss += loss * len(rows)
                progress.batch += 1
                save(progress)
            close_epoch(progress, network, training, validation, config=config)
            on_epoch(progress.history[-1])
    network.load_state_dict(progress.best_state)
    return progress.history


def saver(
    network: Network,
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    checkpoints: Checkpoints,
) -> Callable[[Progress], None]:
    """Make the function that leaves a checkpoint when it is time for one."""
    saved_at = time.monotonic()

    def save(progress: Progress) -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= config.checkpoint_every:
            refuse_divergence(float(progress.loss), progress)
            checkpoints.save(snapshot(progress, network, optimizer))
            saved_at = time.monotonic()

    return save


def step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    training: SequenceSet,
    *,
    rows: np.ndarray[Any, Any],
    rate: float,
    config: TrainingConfig,
) -> Tensor:
    """Learn from one batch and return its mean loss, still on the device."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    network.train()
    device = training.values_NC.device
    batch = gather(training, rows)
    with autocast(device, config):
        encoded = network.encode(batch.values_NC, batch.offsets, batch.statics)
        loss = network.loss(encoded, batch.answers)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    optimizer.step()
    return loss.detach().double()


def close_epoch(
    progress: Progress,
    network: Network,
    training: SequenceSet,
    validation: SequenceSet,
    *,
    config: TrainingConfig,
) -> None:
    """Score the epoch, keep the best weights, and move on to the next."""
    training_loss = float(progress.loss) / len(training)
    refuse_divergence(training_loss, progress)
    validation_loss = mean_loss(network, validation, config)
    refuse_divergence(validation_loss, progress)
    progress.history.append(Epoch(progress.epoch, training_loss, validation_loss))
    if validation_loss < progress.best_loss:
        progress.best_loss, progress.best_epoch = validation_loss, progress.epoch
        progress.best_state = copy.deepcopy(network.state_dict())
    progress.epoch += 1
    progress.batch = 0
    progress.loss = torch.zeros((), dtype=torch.float64, device=training.values_NC.device)


def refuse_divergence(loss: float, progress: Progress) -> None:
    """Stop as soon as a loss that is not finite is seen.

    Raises:
        DivergedError: says in which epoch, and after how many batches of it.
    """
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss became {loss} in epoch {progress.epoch + 1}, within its first "
            f"{progress.batch} batches"
        )


def probe(
    network: Network,
    training: SequenceSet,
    *,
    config: TrainingConfig,
    seconds: float,
) -> float:
    """Train for a moment and return the seconds that a whole epoch would take."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    lengths_S = training.lengths_S
    order = epoch_order(lengths_S, batch=config.batch, seed=config.seed, epoch=0)
    rate = config.learning_rate
    step(network, optimizer, training, rows=order[0], rate=rate, config=config)
    began, done = time.perf_counter(), 0
    for rows in order:
        loss = step(network, optimizer, training, rows=rows, rate=rate, config=config)
        done += len(rows)
        # Reading the loss waits for the device.
        if not math.isfinite(float(loss)) or time.perf_counter() - began > seconds:
            break
    return (time.perf_counter() - began) * len(training) / done


def learning_rate(done: int, config: TrainingConfig, *, total: int) -> float:
    """Rise in a line for the first steps, then fall as a cosine (Loshchilov and Hutter 2017)."""
    warmup = max(1, round(total * WARMUP_SHARE))
    if done < warmup:
        return config.learning_rate * (done + 1) / warmup
    share = (done - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


@torch.no_grad()
def mean_loss(network: Network, sequences: SequenceSet, config: TrainingConfig) -> float:
    """Return the mean loss over the sequences, as they are answered in service."""
    network.eval()
    device = sequences.values_NC.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for rows in plain_order(sequences.lengths_S, batch=max(config.batch, 256)):
        batch = gather(sequences, rows)
        with autocast(device, config):
            encoded = network.encode(batch.values_NC, batch.offsets, batch.statics)
            total += len(rows) * network.loss(encoded, batch.answers).double()
    return float(total) / len(sequences)


@torch.no_grad()
def predict(network: Network, sequences: SequenceSet, config: TrainingConfig) -> Tensor:
    """Return the outputs for every sequence in its own place, [S, O].

    Texts end apart from each other: behind the end of one stands `NOTHING`.
    """
    network.eval()
    device = sequences.values_NC.device
    order = plain_order(sequences.lengths_S, batch=max(config.batch, 256))
    parts: list[Tensor] = []
    for rows in order:
        batch = gather(sequences, rows)
        with autocast(device, config):
            parts.append(network(batch.values_NC, batch.offsets, batch.statics).float())
    if not parts:
        raise ValueError("there are no sequences to predict")
    widest = max(part.shape[1] for part in parts)
    outputs_SO = parts[0].new_full((len(sequences), widest), NOTHING)
    for rows, part_BO in zip(order, parts, strict=True):
        outputs_SO[torch.from_numpy(rows).to(device), : part_BO.shape[1]] = part_BO
    return outputs_SO


def autocast(device: torch.device, config: TrainingConfig) -> Any:  # noqa: ANN401 - two managers
    """Compute in bf16 where the job or the device asks for it."""
    wanted = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def snapshot(progress: Progress, network: Network, optimizer: torch.optim.Optimizer) -> bytes:
    """Write all that the loop needs to go on from here, exactly."""
    buffer = io.BytesIO()
    state = {
        "epoch": progress.epoch,
        "batch": progress.batch,
        "loss": progress.loss,
        "history": [tuple(epoch) for epoch in progress.history],
        "best_epoch": progress.best_epoch,
        "best_loss": progress.best_loss,
        "best_state": progress.best_state,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    torch.save(state, buffer)
    return buffer.getvalue()


def restore(data: bytes, network: Network, optimizer: torch.optim.Optimizer) -> Progress:
    """Take up what `snapshot` wrote. Only tensors and plain values are read, never code."""
    device = next(network.parameters()).device
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"]:
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return Progress(
        epoch=state["epoch"],
        batch=state["batch"],
        loss=state["loss"].to(device),
        history=[Epoch(*epoch) for epoch in state["history"]],
        best_epoch=state["best_epoch"],
        best_loss=state["best_loss"],
        best_state={name: tensor.to(device) for name, tensor in state["best_state"].items()},
    )
