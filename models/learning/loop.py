"""The training loop: an ordinary `for`, resumable after any step.

Shapes: B sequences, O outputs, S sequences of a split.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import DivergedError, PausedError
from models.learning import TrainingConfig
from models.learning.averaging import Average
from models.learning.batches import SequenceSet, gather, plain_order
from models.learning.checkpoint import (
    Checkpoints,
    Saver,
    loaded,
    on,
    random_state,
    set_random_state,
)
from models.learning.plan import Plan, make_plan, step_seconds
from models.learning.schedule import learning_rate
from models.learning.step import autocast, loss_of, make_optimizer, orders, step
from models.networks.ensemble import Ensemble
from models.networks.heads.ctc import NOTHING
from models.networks.network import Network

__all__ = ["Checkpoints", "Epoch", "Step", "Watch", "fit", "predict", "probe"]


class Epoch(NamedTuple):
    """What one epoch came to."""

    epoch: int
    training_loss: float
    validation_loss: float


class Step(NamedTuple):
    """That a step is done, which may not be computed yet."""

    done: int
    """Steps so far, of all epochs."""
    total: int
    """Steps that are planned."""
    sequences: int
    """That were read in this one."""


class Watch(NamedTuple):
    """Who is told how training goes."""

    on_epoch: Callable[[Epoch], None]
    on_step: Callable[[Step], None] = lambda _: None


@dataclass(slots=True)
class Progress:
    """Where the loop stands, between two steps."""

    losses: Tensor
    """Of each of this epoch's steps the sum of its sequences' losses; zeros where none was yet."""
    epoch: int = 0
    batch: int = 0
    """Steps of this epoch that are done."""
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = -1
    best_loss: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def is_over(self, plan: Plan, config: TrainingConfig, *, first: int) -> bool:
        """Tell whether the epochs or the patience, which counts from the `first`, are used up."""
        waited = self.epoch - 1 - max(self.best_epoch, first - 1)
        return self.epoch >= plan.epochs or waited >= config.patience

    def add(self, loss: Tensor, rows: int) -> None:
        """Take in the mean loss of a step, without waiting for the device."""
        self.losses[self.batch] = loss * rows
        self.batch += 1

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.losses = torch.zeros_like(self.losses)


def fit(
    network: Network,
    training: SequenceSet,
    validation: SequenceSet,
    *,
    config: TrainingConfig,
    checkpoints: Checkpoints,
    watch: Watch,
) -> tuple[Plan, list[Epoch]]:
    """Train the network and leave it with the weights of its best epoch.

    Raises:
        DivergedError: the loss stopped being finite.
    """
    with torch.random.fork_rng(), Saver(checkpoints.save, config.checkpoint_every) as saver:
        torch.manual_seed(config.seed)
        state = loaded(data) if (data := checkpoints.load()) else None
        if state is None:
            plan = make_plan(network, training, validation, config)
            torch.manual_seed(config.seed)
        else:
            plan = Plan(*state["plan"])
        loop = Loop(network, plan, config)
        if state is not None:
            loop.restore(state)
        progress = loop.progress
        while not progress.is_over(plan, config, first=loop.average.from_epoch):
            order = orders(training, config, epoch=progress.epoch)[: plan.steps]
            loop.run_epoch(order, training, saver, watch)
            loop.close_epoch(order, validation)
            with paused(loop, saver):
                watch.on_epoch(progress.history[-1])
    network.load_state_dict(progress.best_state)
    return plan, progress.history


class Loop:
    """What changes while a network learns."""

    def __init__(self, network: Network, plan: Plan, config: TrainingConfig) -> None:
        self.network, self.plan, self.config = network, plan, config
        self.optimizer = make_optimizer(network, config)
        self.average = Average(network, config, epochs=plan.epochs, steps=plan.total)
        device = next(network.parameters()).device
        self.progress = Progress(losses=torch.zeros(plan.steps, dtype=torch.float64, device=device))

    def run_epoch(
        self, order: list[NDArray[np.int64]], training: SequenceSet, saver: Saver, watch: Watch
    ) -> None:
        """Take the epoch's steps that are left."""
        self.network.train()
        before = self.progress.epoch * self.plan.steps
        for rows in order[self.progress.batch :]:
            loss = self.learn(training, rows)
            self.progress.add(loss, len(rows))
            watch.on_step(Step(before + self.progress.batch, self.plan.total, len(rows)))
            if saver.due():
                refuse_divergence(float(self.progress.losses.sum()), self.progress, order)
                saver.keep(self.state())

    def learn(self, training: SequenceSet, rows: NDArray[np.int64]) -> Tensor:
        """Take the next step; return its mean loss, still on the device."""
        progress, plan = self.progress, self.plan
        rate = learning_rate(
            progress.epoch * plan.steps + progress.batch,
            self.config,
            height=plan.rate,
            total=plan.total,
            losses=[epoch.validation_loss for epoch in progress.history],
        )
        loss = step(
            self.network, self.optimizer, training, rows=rows, rate=rate, config=self.config
        )
        self.average.after_step()
        return loss

    def close_epoch(self, order: list[NDArray[np.int64]], validation: SequenceSet) -> None:
        """Score the epoch, keep the best weights, and move on to the next."""
        progress = self.progress
        training_loss = float(progress.losses.sum()) / sum(len(rows) for rows in order)
        refuse_divergence(training_loss, progress, order)
        self.average.after_epoch(progress.epoch)
        scored = self.average.best_known
        validation_loss = mean_loss(scored, validation, self.config)
        refuse_divergence(validation_loss, progress, order)
        progress.history.append(Epoch(progress.epoch, training_loss, validation_loss))
        if validation_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation_loss, progress.epoch
            progress.best_state = copy.deepcopy(scored.state_dict())
        progress.next_epoch()

    def state(self) -> dict[str, Any]:
        """Tell all that is needed to go on from here, exactly."""
        progress, held = self.progress, self.average.held
        return {
            "plan": tuple(self.plan),
            "epoch": progress.epoch,
            "batch": progress.batch,
            "losses": progress.losses,
            "history": [tuple(epoch) for epoch in progress.history],
            "best_epoch": progress.best_epoch,
            "best_loss": progress.best_loss,
            "best_state": progress.best_state,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": held.state_dict() if held is not None else {},
            **random_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` told."""
        progress = self.progress
        device = progress.losses.device
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average.held is not None:
            self.average.held.load_state_dict(state["average"])
        set_random_state(state)
        progress.epoch, progress.batch = state["epoch"], state["batch"]
        progress.losses = state["losses"].to(device)
        progress.history = [Epoch(*epoch) for epoch in state["history"]]
        progress.best_epoch, progress.best_loss = state["best_epoch"], state["best_loss"]
        progress.best_state = on(device, state["best_state"])


@contextmanager
def paused(loop: "Loop", saver: Saver) -> Iterator[None]:
    """Leave a checkpoint when whoever watches ends the training for now."""
    try:
        yield
    except PausedError:
        saver.keep(loop.state())
        raise


def refuse_divergence(loss: float, progress: Progress, order: list[NDArray[np.int64]]) -> None:
    """Stop as soon as a loss that is not finite is seen.

    Raises:
        DivergedError: says in which epoch and step, and which rows were read in it.
    """
    if math.isfinite(loss):
        return
    bad = torch.nonzero(~torch.isfinite(progress.losses))[:1, 0].tolist()
    where = f"in step {bad[0] + 1} of epoch" if bad else "on the validation rows after epoch"
    raise DivergedError(
        f"the loss stopped being a finite number {where} {progress.epoch + 1}",
        rows=order[bad[0]] if bad else None,
    )


def probe(
    network: Network, training: SequenceSet, *, config: TrainingConfig, seconds: float
) -> float:
    """Train for a moment and return the seconds that a whole epoch would take."""
    one = step_seconds(network, training, config, seconds=seconds)
    return one * len(orders(training, config, epoch=0))


@torch.no_grad()
def mean_loss(network: Network, sequences: SequenceSet, config: TrainingConfig) -> float:
    """Return the mean loss over the sequences, as they are answered in service."""
    network.eval()
    total = torch.zeros((), dtype=torch.float64, device=sequences.values_NC.device)
    for rows in plain_order(sequences.lengths_S, batch=max(config.batch, 256)):
        total += len(rows) * loss_of(network, sequences, rows, config).double()
    return float(total) / len(sequences)


@torch.no_grad()
def predict(network: Network | Ensemble, sequences: SequenceSet, config: TrainingConfig) -> Tensor:
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
