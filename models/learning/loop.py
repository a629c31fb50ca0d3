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
from models.learning.batch_size import resolve_batch_size
from models.learning.batches import EpochPlan, SequenceSet, compute_padding_share
from models.learning.callbacks import (
    Callbacks,
    EpochResult,
    StepResult,
    ValidationMetric,
    score_epoch,
)
from models.learning.checkpoint import (
    CheckpointStore,
    CheckpointWriter,
    get_random_state,
    move_to_device,
    parse_state,
    set_random_state,
)
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, count_steps, draw_epoch, iterate_steps
from models.learning.flush_denormals import flush_subnormals
from models.learning.plan import TrainingPlan, follow_plan, measure_step_seconds, plan_training
from models.learning.schedule import compute_learning_rate
from models.learning.step import take_step
from models.learning.validation import predict, validate
from models.learning.weight_averaging import WeightAverage
from models.learning.weights import Optimizer
from models.networks.native.kernels import pin_kernels
from models.networks.network import Network

logger = logging.getLogger(__name__)

__all__ = [
    "Callbacks",
    "CheckpointStore",
    "EpochResult",
    "StepResult",
    "ValidationMetric",
    "fit",
    "measure_epoch_seconds",
    "predict",
]


@dataclass(slots=True)
class TrainingProgress:
    """State of the loop between two steps."""

    losses: Tensor
    """Sum of the losses of the sequences of each step of this epoch; 0 for steps to come."""
    epoch: int = 0
    step: int = 0
    """Finished steps of this epoch."""
    history: list[EpochResult] = field(default_factory=list)
    best_epoch: int = -1
    best_score: float = math.inf
    """Of the best epoch; lower is better."""
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def is_over(self, plan: TrainingPlan, config: TrainingConfig, *, first: int) -> bool:
        """Return whether the epochs, or the patience counted from epoch `first`, are used up."""
        waited = self.epoch - 1 - max(self.best_epoch, first - 1)
        return self.epoch >= plan.epochs or waited >= config.patience

    def add_loss(self, loss: Tensor, rows: int) -> None:
        """Record the mean loss of a step of so many rows, without waiting for the device."""
        self.losses[self.step] = loss * rows
        self.step += 1

    def begin_next_epoch(self) -> None:
        """Reset the state of the epoch."""
        self.epoch, self.step = self.epoch + 1, 0
        self.losses = torch.zeros_like(self.losses)


def fit(
    network: Network,
    training: Sequences,
    validation: Sequences,
    *,
    config: TrainingConfig,
    checkpoints: CheckpointStore,
    callbacks: Callbacks,
    metric: ValidationMetric | None = None,
    plan: TrainingPlan | None = None,
) -> tuple[TrainingPlan, list[EpochResult]]:
    """Train the network and leave it with the weights of its best epoch.

    Args:
        network: trained in place.
        training: training sequences.
        validation: sequences by which epochs are compared.
        config: settings of training.
        checkpoints: where to resume from, and where to write the state.
        callbacks: called after every step and epoch.
        metric: of the validation predictions, beside the loss; may decide on early stopping.
        plan: of a training that is reproduced; measured where there is none.

    Raises:
        DivergedError: the loss is not finite.
    """
    saving = CheckpointWriter(checkpoints.save, config.checkpoint_every)
    with flush_subnormals(), torch.random.fork_rng(), saving as saver, pin_kernels() as keep:
        torch.manual_seed(config.seed)
        state = load_state(checkpoints, keep)
        if state is not None:
            plan = TrainingPlan(*state["plan"])
        else:
            plan = follow_plan(network, plan, keep) or plan_training(
                network, training, validation, config
            )
        config = plan.apply_to(config)
        loop = TrainingLoop(network, plan, config, metric=metric, state=state)
        progress = loop.progress
        while not progress.is_over(plan, config, first=loop.average.from_epoch):
            order = draw_epoch(training, config, epoch=progress.epoch).truncate(plan.steps)
            loop.run_epoch(order, training, saver, callbacks)
            epoch = loop.close_epoch(order.steps, training, validation)
            with checkpoint_on_pause(loop, saver):
                callbacks.on_epoch(epoch)
    network.load_state_dict(progress.best_state)
    return plan, progress.history


def load_state(checkpoints: CheckpointStore, keep: Callable[[str], bool]) -> dict[str, Any] | None:
    """Load the last checkpoint, if it can be resumed with the kernels that it was made with."""
    data = checkpoints.load()
    if data is None:
        return None
    state = parse_state(data)
    if not keep(TrainingPlan(*state["plan"]).kernels):
        logger.warning(
            "the kernels of the checkpoint are not available here; training starts again"
        )
        return None
    return state


class TrainingLoop:
    """Everything that changes during training."""

    def __init__(
        self,
        network: Network,
        plan: TrainingPlan,
        config: TrainingConfig,
        *,
        metric: ValidationMetric | None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.network, self.plan, self.config, self.metric = network, plan, config, metric
        self.average = WeightAverage(network, config, epochs=plan.epochs, steps=plan.total_steps)
        self.optimizer = Optimizer(network, config)
        device = next(network.parameters()).device
        self.progress = TrainingProgress(
            losses=torch.zeros(plan.steps, dtype=torch.float64, device=device)
        )
        if state is not None:
            self.restore(state)

    def run_epoch(
        self, order: EpochPlan, training: Sequences, saver: CheckpointWriter, callbacks: Callbacks
    ) -> None:
        """Train on the remaining steps of the epoch."""
        self.network.train()
        before = self.progress.epoch * self.plan.steps
        for held, rows in iterate_steps(training, order, first=self.progress.step):
            loss = self.train_step(held, rows)
            self.progress.add_loss(loss, len(rows))
            callbacks.on_step(
                StepResult(before + self.progress.step, self.plan.total_steps, len(rows), loss)
            )
            if saver.is_due():
                check_finite(float(self.progress.losses.sum()), self.progress, order.steps)
                saver.save_state(self.state())

    def compute_learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        progress, plan = self.progress, self.plan
        return compute_learning_rate(
            progress.epoch * plan.steps + progress.step,
            self.config,
            peak=plan.peak_learning_rate,
            total=plan.total_steps,
            losses=[score_epoch(epoch, self.metric) for epoch in progress.history],
        )

    def train_step(self, held: SequenceSet, rows: NDArray[np.int64]) -> Tensor:
        """Train on one step; return its mean loss, on the device."""
        loss = take_step(
            self.network,
            self.optimizer,
            held,
            rows=rows,
            rate=self.compute_learning_rate(),
            config=self.config,
        )
        self.average.update_after_step()
        return loss

    def close_epoch(
        self, order: list[NDArray[np.int64]], training: Sequences, validation: Sequences
    ) -> EpochResult:
        """Validate the epoch, keep the best weights, and begin the next."""
        progress = self.progress
        training_loss = float(progress.losses.sum()) / sum(len(rows) for rows in order)
        check_finite(training_loss, progress, order)
        self.average.update_after_epoch(progress.epoch)
        scored = self.average.current_best
        found = validate(scored, validation, self.config, self.metric)
        check_finite(found.loss, progress, order)
        epoch = EpochResult(
            progress.epoch,
            training_loss,
            found.loss,
            metric=found.metric,
            metric_name=self.metric.name if self.metric else None,
            learning_rate=self.optimizer.learning_rate,
            padding_share=compute_padding_share(training.lengths_S, order),
        )
        progress.history.append(epoch)
        reached = score_epoch(epoch, self.metric)
        if reached < progress.best_score or progress.best_epoch < 0:
            progress.best_score, progress.best_epoch = reached, progress.epoch
            progress.best_state = copy.deepcopy(scored.state_dict())
        progress.begin_next_epoch()
        return epoch

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to resume exactly here."""
        progress, held = self.progress, self.average.averaged
        return {
            "plan": tuple(self.plan),
            "epoch": progress.epoch,
            "batch": progress.step,
            "losses": progress.losses,
            "history": [tuple(epoch) for epoch in progress.history],
            "best_epoch": progress.best_epoch,
            "best_figure": progress.best_score,
            "best_state": progress.best_state,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state(),
            "average": held.state_dict() if held is not None else {},
            **get_random_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        progress = self.progress
        device = progress.losses.device
        self.network.load_state_dict(state["network"])
        self.optimizer.restore(state["optimizer"])
        if self.average.averaged is not None:
            self.average.averaged.load_state_dict(state["average"])
        set_random_state(state)
        progress.epoch, progress.step = state["epoch"], state["batch"]
        progress.losses = state["losses"].to(device)
        progress.history = [EpochResult(*epoch) for epoch in state["history"]]
        progress.best_epoch, progress.best_score = state["best_epoch"], state["best_figure"]
        progress.best_state = move_to_device(device, state["best_state"])


@contextmanager
def checkpoint_on_pause(loop: "TrainingLoop", saver: CheckpointWriter) -> Iterator[None]:
    """Write a checkpoint when a callback pauses the training."""
    try:
        yield
    except PausedError:
        saver.save_state(loop.state())
        raise


def check_finite(loss: float, progress: TrainingProgress, order: list[NDArray[np.int64]]) -> None:
    """Check that the losses so far are finite.

    Raises:
        DivergedError: names the epoch and step, and the rows of that step.
    """
    if math.isfinite(loss):
        return
    bad = torch.nonzero(~torch.isfinite(progress.losses))[:1, 0].tolist()
    where = f"in step {bad[0] + 1} of epoch" if bad else "on the validation rows after epoch"
    raise DivergedError(
        f"the loss stopped being a finite number {where} {progress.epoch + 1}",
        rows=order[bad[0]] if bad else None,
    )


def measure_epoch_seconds(
    network: Network, training: Sequences, *, config: TrainingConfig, seconds: float
) -> float:
    """Train for a moment; return the estimated seconds of a whole epoch."""
    config = resolve_batch_size(network, training, config)
    with flush_subnormals():
        one = measure_step_seconds(network, training, config, seconds=seconds)
    return one * count_steps(training, config)
