"""The training loop: an ordinary `for`, resumable after any step.

Shapes: B sequences, O outputs, S sequences of a split.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import DivergedError, PausedError
from models.learning.batch_size import with_batch
from models.learning.batches import Drawn, SequenceSet, padding_share
from models.learning.callbacks import Epoch, Judge, Step, Watch, figure
from models.learning.checkpoint import (
    Checkpoints,
    Saver,
    loaded,
    on,
    random_state,
    set_random_state,
)
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, drawn, fed, steps_in
from models.learning.flush_denormals import flushed_subnormals
from models.learning.plan import Plan, followed, planned, step_seconds
from models.learning.schedule import learning_rate
from models.learning.step import step
from models.learning.validation import predict, validate
from models.learning.weight_averaging import Average
from models.learning.weights import Weights
from models.networks.native.kernels import kept
from models.networks.network import Network

logger = logging.getLogger(__name__)

__all__ = ["Checkpoints", "Epoch", "Judge", "Step", "Watch", "fit", "predict", "probe"]


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
    best_figure: float = math.inf
    """Of the best epoch; less is better."""
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
    training: Sequences,
    validation: Sequences,
    *,
    config: TrainingConfig,
    checkpoints: Checkpoints,
    watch: Watch,
    judge: Judge | None = None,
    plan: Plan | None = None,
) -> tuple[Plan, list[Epoch]]:
    """Train the network and leave it with the weights of its best epoch.

    Args:
        network: is changed in place.
        training: to learn from.
        validation: what the epochs are judged by.
        config: how to learn.
        checkpoints: where to go on from, and to leave the state.
        watch: is told of every step and epoch.
        judge: measures the validation's answers beside the loss, and may decide.
        plan: of a training that is done over; made anew where there is none.

    Raises:
        DivergedError: the loss stopped being finite.
    """
    saving = Saver(checkpoints.save, config.checkpoint_every)
    with flushed_subnormals(), torch.random.fork_rng(), saving as saver, kept() as keep:
        torch.manual_seed(config.seed)
        state = left_state(checkpoints, keep)
        if state is not None:
            plan = Plan(*state["plan"])
        else:
            plan = followed(network, plan, keep) or planned(network, training, validation, config)
        config = plan.settled(config)
        loop = Loop(network, plan, config, judge=judge, state=state)
        progress = loop.progress
        while not progress.is_over(plan, config, first=loop.average.from_epoch):
            order = drawn(training, config, epoch=progress.epoch).until(plan.steps)
            loop.run_epoch(order, training, saver, watch)
            epoch = loop.close_epoch(order.steps, training, validation)
            with paused(loop, saver):
                watch.on_epoch(epoch)
    network.load_state_dict(progress.best_state)
    return plan, progress.history


def left_state(checkpoints: Checkpoints, keep: Callable[[str], bool]) -> dict[str, Any] | None:
    """Load where a training was left, if it can go on from there with the kernels it began with."""
    data = checkpoints.load()
    if data is None:
        return None
    state = loaded(data)
    if not keep(Plan(*state["plan"]).kernels):
        logger.warning("the kernels that this training began with are not here; it begins anew")
        return None
    return state


class Loop:
    """What changes while a network learns."""

    def __init__(
        self,
        network: Network,
        plan: Plan,
        config: TrainingConfig,
        *,
        judge: Judge | None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.network, self.plan, self.config, self.judge = network, plan, config, judge
        self.average = Average(network, config, epochs=plan.epochs, steps=plan.total)
        self.weights = Weights(network, config)
        device = next(network.parameters()).device
        self.progress = Progress(losses=torch.zeros(plan.steps, dtype=torch.float64, device=device))
        if state is not None:
            self.restore(state)

    def run_epoch(self, order: Drawn, training: Sequences, saver: Saver, watch: Watch) -> None:
        """Take the epoch's steps that are left."""
        self.network.train()
        before = self.progress.epoch * self.plan.steps
        for held, rows in fed(training, order, first=self.progress.batch):
            loss = self.learn(held, rows)
            self.progress.add(loss, len(rows))
            watch.on_step(Step(before + self.progress.batch, self.plan.total, len(rows), loss))
            if saver.due():
                refuse_divergence(float(self.progress.losses.sum()), self.progress, order.steps)
                saver.keep(self.state())

    def rate(self) -> float:
        """Tell the step size of the next step."""
        progress, plan = self.progress, self.plan
        return learning_rate(
            progress.epoch * plan.steps + progress.batch,
            self.config,
            height=plan.rate,
            total=plan.total,
            losses=[figure(epoch, self.judge) for epoch in progress.history],
        )

    def learn(self, held: SequenceSet, rows: NDArray[np.int64]) -> Tensor:
        """Take the next step; return its mean loss, still on the device."""
        loss = step(
            self.network, self.weights, held, rows=rows, rate=self.rate(), config=self.config
        )
        self.average.after_step()
        return loss

    def close_epoch(
        self, order: list[NDArray[np.int64]], training: Sequences, validation: Sequences
    ) -> Epoch:
        """Score the epoch, keep the best weights, and move on to the next."""
        progress = self.progress
        training_loss = float(progress.losses.sum()) / sum(len(rows) for rows in order)
        refuse_divergence(training_loss, progress, order)
        self.average.after_epoch(progress.epoch)
        scored = self.average.best_known
        found = validate(scored, validation, self.config, self.judge)
        refuse_divergence(found.loss, progress, order)
        epoch = Epoch(
            progress.epoch,
            training_loss,
            found.loss,
            metric=found.metric,
            metric_name=self.judge.name if self.judge else None,
            learning_rate=self.weights.rate,
            padding_share=padding_share(training.lengths_S, order),
        )
        progress.history.append(epoch)
        reached = figure(epoch, self.judge)
        if reached < progress.best_figure or progress.best_epoch < 0:
            progress.best_figure, progress.best_epoch = reached, progress.epoch
            progress.best_state = copy.deepcopy(scored.state_dict())
        progress.next_epoch()
        return epoch

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
            "best_figure": progress.best_figure,
            "best_state": progress.best_state,
            "network": self.network.state_dict(),
            "optimizer": self.weights.state(),
            "average": held.state_dict() if held is not None else {},
            **random_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` told."""
        progress = self.progress
        device = progress.losses.device
        self.network.load_state_dict(state["network"])
        self.weights.restore(state["optimizer"])
        if self.average.held is not None:
            self.average.held.load_state_dict(state["average"])
        set_random_state(state)
        progress.epoch, progress.batch = state["epoch"], state["batch"]
        progress.losses = state["losses"].to(device)
        progress.history = [Epoch(*epoch) for epoch in state["history"]]
        progress.best_epoch, progress.best_figure = state["best_epoch"], state["best_figure"]
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
    network: Network, training: Sequences, *, config: TrainingConfig, seconds: float
) -> float:
    """Train for a moment and return the seconds that a whole epoch would take."""
    config = with_batch(network, training, config)
    with flushed_subnormals():
        one = step_seconds(network, training, config, seconds=seconds)
    return one * steps_in(training, config)
