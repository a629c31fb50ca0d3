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

from models.learning.batch_size import resolve_batch_size
from models.learning.checkpoint import CheckpointStore, parse_state
from models.learning.config import Precision, TrainingConfig
from models.learning.data_source import (
    Sequences,
    count_steps,
    draw_sequential,
    iterate_steps,
    repeat_first_epoch,
)
from models.learning.step import compute_loss, take_step
from models.learning.stream import StreamingSet
from models.learning.weights import Optimizer
from models.networks.native.kernels import TORCH
from models.networks.network import Network, find_kernel_name

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = 1e-5, 1.0
"""Range of the learning rate range test."""
TRIED = 100
"""Steps of the learning rate range test."""
SMOOTHING = 0.9
SETTLED = 10
"""Steps after which the smoothed loss is used."""
WORSE = 4.0
"""The test ends when the loss is so many times the best."""
BELOW = 10.0
"""The chosen rate is the one with the lowest loss divided by this."""
MEASURED = 3.0
"""Seconds for measuring the speed, at most a fiftieth of the budget."""


class TrainingPlan(NamedTuple):
    """What was decided before the first step."""

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

    def apply_to(self, config: TrainingConfig) -> TrainingConfig:
        """Return the settings with the measured values in place of `auto`."""
        return replace(config, batch_size=self.batch_size, precision=self.precision)

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
    steps, streamed = count_steps(training, config), isinstance(training, StreamingSet)
    plan = TrainingPlan(
        config.epochs, steps, rate, streamed, config.initial_batch_size, config.precision
    )
    if config.budget is None:
        return plan
    most = max(1.0, min(MEASURED, config.budget / 50))
    learning = measure_step_seconds(copy.deepcopy(network), training, config, seconds=most)
    scoring = measure_validation_seconds(network, validation, config, seconds=most / 2)
    epoch = steps * learning + scoring
    if epoch <= config.budget:
        return plan._replace(epochs=min(config.epochs, int(config.budget / epoch)))
    return plan._replace(epochs=1, steps=max(1, int((config.budget - scoring) / learning)))


def plan_training(
    network: Network, training: Sequences, validation: Sequences, config: TrainingConfig
) -> TrainingPlan:
    """Plan a training, and restore the random number generators afterwards."""
    plan = make_plan(network, training, validation, config)
    torch.manual_seed(config.seed)
    return plan._replace(kernels=find_kernel_name(network))


def follow_plan(
    network: Network, plan: TrainingPlan | None, keep: Callable[[str], bool]
) -> TrainingPlan | None:
    """Take over a plan, and its kernels where they are here."""
    if plan is None:
        return None
    if not keep(plan.kernels):
        logger.warning("the kernels that this model was made with are not here; it may differ")
    return plan._replace(kernels=find_kernel_name(network))


def find_learning_rate(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Run a learning rate range test (Smith 2017); return a tenth of the rate with the lowest loss.

    The network is changed.
    """
    network.train()
    weights = Optimizer(network, config)
    rates, steps = np.geomspace(LOWEST, HIGHEST, TRIED), repeat_first_epoch(training, config)
    smooth, found = 0.0, []
    for place, (rate, (held, rows)) in enumerate(zip(rates, steps, strict=False)):
        loss = float(take_step(network, weights, held, rows=rows, rate=float(rate), config=config))
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
        if not math.isfinite(loss):
            break
        found.append(smooth / (1 - SMOOTHING ** (place + 1)))
        # The first values are means of few batches, and vary a lot.
        if place >= SETTLED and found[-1] > WORSE * min(found[SETTLED:]):
            break
    best = SETTLED + int(np.argmin(found[SETTLED:])) if len(found) > SETTLED else 0
    return float(rates[best]) / BELOW


def measure_step_seconds(
    network: Network, training: Sequences, config: TrainingConfig, *, seconds: float
) -> float:
    """Train for a moment; return the seconds of a step. The network is changed."""
    network.train()
    weights, steps = Optimizer(network, config), repeat_first_epoch(training, config)
    most = count_steps(training, config)

    def learn() -> Tensor:
        held, rows = next(steps)
        return take_step(network, weights, held, rows=rows, rate=LOWEST, config=config)

    # The first step also allocates memory.
    float(learn())
    began, done = time.perf_counter(), 0
    while True:
        done += 1
        # Reading the loss waits for the device.
        loss = float(learn())
        passed = time.perf_counter() - began
        if not math.isfinite(loss) or passed > seconds or done == most:
            return passed / done


def measure_validation_seconds(
    network: Network, validation: Sequences, config: TrainingConfig, *, seconds: float
) -> float:
    """Validate for a moment; return the estimated seconds of the whole validation."""
    began, done = time.perf_counter(), 0
    with torch.no_grad():
        network.eval()
        for held, rows in iterate_steps(
            validation, draw_sequential(validation, batch=max(config.initial_batch_size, 256))
        ):
            float(compute_loss(network, held, rows, config))
            done += len(rows)
            if time.perf_counter() - began > seconds:
                break
    return (time.perf_counter() - began) * len(validation) / done
