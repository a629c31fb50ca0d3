"""The plan of a training: epochs, steps, peak learning rate, batch size, precision, kernels.

A plan is made once and stored in every checkpoint and with the model; a run that resumes, or that
reproduces the model, does not measure it again.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.learning.batch_size import choose_batch_size, resolve_batch_size
from models.learning.checkpoint import CheckpointStore, parse_state
from models.learning.config import Precision, TrainingConfig
from models.learning.data_source import (
    Sequences,
    count_steps,
    draw_sequential,
    iterate_steps,
    repeat_first_epoch,
)
from models.learning.optimizer import Optimizer
from models.learning.step import compute_loss, take_step
from models.learning.stream import StreamingSet
from models.networks.native.kernels import TORCH
from models.networks.network import Network, find_kernel_name

logger = logging.getLogger(__name__)

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 1.0
"""Range of the learning rates that the range test tries."""
RANGE_TEST_STEPS = 100
"""Steps of the learning rate range test."""
SMOOTHING = 0.9
"""Weight of the earlier losses in the smoothed loss."""
BURN_IN_STEPS = 10
"""Steps after which the smoothed loss is used."""
DIVERGENCE_FACTOR = 4.0
"""The test ends when the loss is so many times the best."""
RATE_DIVISOR = 10.0
"""The chosen rate is the one with the lowest loss divided by this."""
MAX_MEASURE_SECONDS = 3.0
"""Seconds for measuring the speed, at most a fiftieth of the budget."""

_MIN_EPOCHS, _USUAL_EPOCHS = 12, 60
"""By default, the least number of epochs, and those that few rows are read for."""

_MIN_TOTAL_STEPS, _ENOUGH_STEPS = 500, 1_000
"""Optimizer steps in all epochs: at least so many, and so many for which few rows are read again:
a few dozen rows are learned in fewer."""


class TrainingPlan(NamedTuple):
    """What is decided before the first step."""

    epochs: int
    steps: int
    """Steps of each epoch; fewer than it has only where the budget ends within the first."""
    peak_learning_rate: float
    """Learning rate after the warm-up."""
    is_streaming: bool
    """Whether sequences are streamed from disk; a resumed run reads them in the same way."""
    batch_size: int
    """Sequences in a batch."""
    precision: Precision
    """Numeric type of the computation."""
    kernels: str = TORCH
    """Which kernels compute the cells; a resumed run uses the same."""
    budget_share: float = 1.0
    """Share of the steps that the budget leaves of those that would be taken without it."""

    def apply_to(self, config: TrainingConfig) -> TrainingConfig:
        """Return the settings with the measured values instead of `auto`."""
        return replace(
            config, batch_size=self.batch_size, precision=self.precision, epochs=self.epochs
        )

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.steps


def load_plan(checkpoints: CheckpointStore) -> TrainingPlan | None:
    """Return the plan of a training that can be resumed, or None."""
    data = checkpoints.load()
    return TrainingPlan(*parse_state(data)["plan"]) if data else None


def make_plan(
    network: Network, training: Sequences, validation: Sequences, config: TrainingConfig
) -> TrainingPlan:
    """Plan a training; the network is not changed."""
    config = resolve_batch_size(network, training, config)
    rate = config.learning_rate
    if rate == "auto":
        rate = find_learning_rate(copy.deepcopy(network), training, config)
    steps, is_streaming = count_steps(training, config), isinstance(training, StreamingSet)
    epochs = choose_epochs(config, steps)
    plan = TrainingPlan(
        epochs, steps, rate, is_streaming, config.initial_batch_size, config.precision
    )
    if config.budget is None:
        return plan
    limit = max(1.0, min(MAX_MEASURE_SECONDS, config.budget / 50))
    step_seconds = measure_step_seconds(copy.deepcopy(network), training, config, seconds=limit)
    validation_seconds = _measure_validation_seconds(network, validation, config, seconds=limit / 2)
    epoch_seconds = steps * step_seconds + validation_seconds
    if epoch_seconds <= config.budget:
        shorter = plan._replace(epochs=min(epochs, int(config.budget / epoch_seconds)))
    else:
        left = max(1, int((config.budget - validation_seconds) / step_seconds))
        shorter = plan._replace(epochs=1, steps=left)
    return shorter._replace(budget_share=min(1.0, shorter.total_steps / plan.total_steps))


def choose_epochs(config: TrainingConfig, steps: int) -> int:
    """Return the epochs; by default so many that enough optimizer steps are taken.

    Args:
        config: with the epochs.
        steps: of an epoch.
    """
    if config.epochs != "auto":
        return config.epochs
    wanted = min(max(_USUAL_EPOCHS * steps, _MIN_TOTAL_STEPS), _ENOUGH_STEPS)
    return max(_MIN_EPOCHS, math.ceil(wanted / steps))


def estimate_epochs(config: TrainingConfig, rows: int) -> int:
    """Return the epochs that will be planned for so many rows, without a budget."""
    if config.batch_size == "auto":
        config = replace(config, batch_size=choose_batch_size(rows))
    return choose_epochs(config, -(-rows // config.sequences_per_step))


def plan_training(
    network: Network, training: Sequences, validation: Sequences, config: TrainingConfig
) -> TrainingPlan:
    """Plan a training, and restore the random number generators afterwards."""
    plan = make_plan(network, training, validation, config)
    torch.manual_seed(config.seed)
    return plan._replace(kernels=find_kernel_name(network))


def follow_plan(
    network: Network, plan: TrainingPlan | None, pin: Callable[[str], bool]
) -> TrainingPlan | None:
    """Return a plan that was made before, with its kernels where they are available here."""
    if plan is None:
        return None
    if not pin(plan.kernels):
        logger.warning(
            "the kernels that this model was trained with are not available; it may differ"
        )
    return plan._replace(kernels=find_kernel_name(network))


def find_learning_rate(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Run a learning rate range test (Smith 2017); return a tenth of the rate with the lowest loss.

    The network is changed.
    """
    network.train()
    optimizer = Optimizer(network, config)
    rates, steps = (
        np.geomspace(MIN_LEARNING_RATE, MAX_LEARNING_RATE, RANGE_TEST_STEPS),
        repeat_first_epoch(training, config),
    )
    smooth, losses = 0.0, []
    for index, (rate, (sequences, rows)) in enumerate(zip(rates, steps, strict=False)):
        loss = float(
            take_step(
                network, optimizer, sequences, rows=rows, learning_rate=float(rate), config=config
            )
        )
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
        if not math.isfinite(loss):
            break
        losses.append(smooth / (1 - SMOOTHING ** (index + 1)))
        # The first values are means of few batches, and vary a lot.
        if index >= BURN_IN_STEPS and losses[-1] > DIVERGENCE_FACTOR * min(losses[BURN_IN_STEPS:]):
            break
    best = (
        BURN_IN_STEPS + int(np.argmin(losses[BURN_IN_STEPS:])) if len(losses) > BURN_IN_STEPS else 0
    )
    return float(rates[best]) / RATE_DIVISOR


def measure_step_seconds(
    network: Network, training: Sequences, config: TrainingConfig, *, seconds: float
) -> float:
    """Train for a moment; return the seconds of a step. The network is changed."""
    network.train()
    optimizer, steps = Optimizer(network, config), repeat_first_epoch(training, config)
    most = count_steps(training, config)

    def train_step() -> Tensor:
        sequences, rows = next(steps)
        return take_step(
            network, optimizer, sequences, rows=rows, learning_rate=MIN_LEARNING_RATE, config=config
        )

    # The first step also allocates memory.
    float(train_step())
    began, done = time.perf_counter(), 0
    while True:
        done += 1
        # Reading the loss waits for the device.
        loss = float(train_step())
        passed = time.perf_counter() - began
        if not math.isfinite(loss) or passed > seconds or done == most:
            return passed / done


def _measure_validation_seconds(
    network: Network, validation: Sequences, config: TrainingConfig, *, seconds: float
) -> float:
    """Validate for a moment; return the estimated seconds of the whole validation."""
    began, done = time.perf_counter(), 0
    with torch.no_grad():
        network.eval()
        for sequences, rows in iterate_steps(
            validation, draw_sequential(validation, batch=max(config.initial_batch_size, 256))
        ):
            float(compute_loss(network, sequences, rows, config))
            done += len(rows)
            if time.perf_counter() - began > seconds:
                break
    return (time.perf_counter() - began) * len(validation) / done
