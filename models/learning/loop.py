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
    smooth_scores,
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
from models.learning.optimizer import Optimizer
from models.learning.plan import TrainingPlan, follow_plan, measure_step_seconds, plan_training
from models.learning.schedule import compute_learning_rate
from models.learning.step import limit_threads, take_step
from models.learning.validation import predict, validate
from models.learning.weight_averaging import WeightAverage
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
        return self.epoch >= plan.epochs or waited >= config.patience_epochs

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
        metric: of the validation predictions, in addition to the loss; may decide early stopping.
        plan: of a training that is reproduced; without one it is made here.

    Raises:
        DivergedError: the loss is not finite.
    """
    writer = CheckpointWriter(checkpoints.save, config.checkpoint_every)
    with flush_subnormals(), torch.random.fork_rng(), writer, pin_kernels() as pin:
        torch.manual_seed(config.seed)
        loop = _resume(network, config, metric, _load_state(checkpoints, pin))
        if loop is None:
            plan = follow_plan(network, plan, pin) or plan_training(
                network, training, validation, config
            )
            loop = TrainingLoop(network, plan, plan.apply_to(config), metric=metric)
        plan, config, progress = loop.plan, loop.config, loop.progress
        batch_steps = float(training.lengths_S.mean()) * plan.batch_size
        while not progress.is_over(plan, config, first=loop.average.first_epoch):
            epoch_plan = draw_epoch(training, config, epoch=progress.epoch).truncate(plan.steps)
            with limit_threads(batch_steps):
                loop.run_epoch(epoch_plan, training, writer, callbacks)
                result = loop.close_epoch(epoch_plan.steps, training, validation)
            with _checkpoint_on_pause(loop, writer):
                callbacks.on_epoch(result)
    network.load_state_dict(progress.best_state)
    return plan, progress.history


class TrainingLoop:
    """The network, its optimizer and all other state that changes during training."""

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
            self.load_state_dict(state)

    def run_epoch(
        self,
        epoch_plan: EpochPlan,
        training: Sequences,
        writer: CheckpointWriter,
        callbacks: Callbacks,
    ) -> None:
        """Train on the remaining steps of the epoch."""
        self.network.train()
        before = self.progress.epoch * self.plan.steps
        for sequences, rows in iterate_steps(training, epoch_plan, first=self.progress.step):
            loss = self.train_step(sequences, rows)
            self.progress.add_loss(loss, len(rows))
            callbacks.on_step(
                StepResult(before + self.progress.step, self.plan.total_steps, len(rows), loss)
            )
            if writer.is_due():
                _check_finite(float(self.progress.losses.sum()), self.progress, epoch_plan.steps)
                writer.save_state(self.state_dict())

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

    def train_step(self, sequences: SequenceSet, rows: NDArray[np.int64]) -> Tensor:
        """Train on one step; return its mean loss, on the device."""
        done = self.progress.epoch * self.plan.steps + self.progress.step
        self.optimizer.share_done = done / self.plan.total_steps
        loss = take_step(
            self.network,
            self.optimizer,
            sequences,
            rows=rows,
            learning_rate=self.compute_learning_rate(),
            config=self.config,
        )
        self.average.update_after_step()
        return loss

    def close_epoch(
        self, steps: list[NDArray[np.int64]], training: Sequences, validation: Sequences
    ) -> EpochResult:
        """Validate the epoch, copy its weights if they are the best so far, and begin the next."""
        progress = self.progress
        training_loss = float(progress.losses.sum()) / sum(len(rows) for rows in steps)
        _check_finite(training_loss, progress, steps)
        self.average.update_after_epoch(progress.epoch)
        network = self.average.prediction_network
        validated = validate(network, validation, self.config, self.metric)
        _check_finite(validated.loss, progress, steps)
        epoch = EpochResult(
            progress.epoch,
            training_loss,
            validated.loss,
            metric=validated.metric,
            metric_name=self.metric.name if self.metric else None,
            learning_rate=self.optimizer.learning_rate,
            padding_share=compute_padding_share(training.lengths_S, steps),
        )
        progress.history.append(epoch)
        score = smooth_scores(progress.history, self.metric, rows=len(validation))[-1]
        if score < progress.best_score or progress.best_epoch < 0:
            progress.best_score, progress.best_epoch = score, progress.epoch
            progress.best_state = copy.deepcopy(network.state_dict())
        progress.begin_next_epoch()
        return epoch

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to resume exactly here."""
        progress, averaged = self.progress, self.average.averaged
        return {
            "plan": tuple(self.plan),
            "epoch": progress.epoch,
            "step": progress.step,
            "losses": progress.losses,
            "history": [tuple(epoch) for epoch in progress.history],
            "best_epoch": progress.best_epoch,
            "best_score": progress.best_score,
            "best_state": progress.best_state,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": averaged.state_dict() if averaged is not None else {},
            **get_random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        progress = self.progress
        device = progress.losses.device
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average.averaged is not None:
            self.average.averaged.load_state_dict(state["average"])
        set_random_state(state)
        progress.epoch, progress.step = state["epoch"], state["step"]
        progress.losses = state["losses"].to(device)
        progress.history = [EpochResult(*epoch) for epoch in state["history"]]
        progress.best_epoch, progress.best_score = state["best_epoch"], state["best_score"]
        progress.best_state = move_to_device(device, state["best_state"])


def measure_epoch_seconds(
    network: Network, training: Sequences, *, config: TrainingConfig, seconds: float
) -> float:
    """Train for a moment; return the estimated seconds of a whole epoch."""
    config = resolve_batch_size(network, training, config)
    with flush_subnormals():
        step_seconds = measure_step_seconds(network, training, config, seconds=seconds)
    return step_seconds * count_steps(training, config)


def _load_state(checkpoints: CheckpointStore, pin: Callable[[str], bool]) -> dict[str, Any] | None:
    """Load the last checkpoint, if it can be resumed with the kernels that it was made with."""
    data = checkpoints.load()
    if data is None:
        return None
    state = parse_state(data)
    if not pin(TrainingPlan(*state["plan"]).kernels):
        logger.warning(
            "the kernels of the checkpoint are not available here; training starts again"
        )
        return None
    return state


def _resume(
    network: Network,
    config: TrainingConfig,
    metric: ValidationMetric | None,
    state: dict[str, Any] | None,
) -> TrainingLoop | None:
    """Return the loop of a checkpoint; None where there is none, or it is of another network."""
    if state is None:
        return None
    plan, weights = TrainingPlan(*state["plan"]), copy.deepcopy(network.state_dict())
    try:
        return TrainingLoop(network, plan, plan.apply_to(config), metric=metric, state=state)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        logger.warning("the checkpoint does not fit, so training starts again: %s", error)
        network.load_state_dict(weights)
        torch.manual_seed(config.seed)
        return None


@contextmanager
def _checkpoint_on_pause(loop: TrainingLoop, writer: CheckpointWriter) -> Iterator[None]:
    """Write a checkpoint when a callback pauses the training."""
    try:
        yield
    except PausedError:
        writer.save_state(loop.state_dict())
        raise


def _check_finite(loss: float, progress: TrainingProgress, steps: list[NDArray[np.int64]]) -> None:
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
        rows=steps[bad[0]] if bad else None,
    )
