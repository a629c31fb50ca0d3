"""What a training is planned to be: how many steps, and how large the largest of them.

A plan is made once, kept in every checkpoint and with the model, and not measured again by a run
that goes on, nor by one that makes the model again.
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

from models.learning.batch_size import with_batch
from models.learning.checkpoint import Checkpoints, loaded
from models.learning.config import PrecisionName, TrainingConfig
from models.learning.data_source import Sequences, endless, fed, plain, steps_in
from models.learning.step import loss_of, step
from models.learning.stream import StreamedSet
from models.learning.weights import Weights
from models.networks.native.kernels import TORCH
from models.networks.network import Network, computes_with

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = 1e-5, 1.0
"""Rates between which one is looked for."""
TRIED = 100
"""Steps from the lowest to the highest."""
SMOOTHING = 0.9
SETTLED = 10
"""Steps after which a smoothed loss can be trusted."""
WORSE = 4.0
"""Times the best loss at which a search is over."""
BELOW = 10.0
"""The rate that is taken lies so far below the one with the lowest loss."""
MEASURED = 3.0
"""Seconds that are spent on measuring the speed, or a fiftieth of the budget."""


class Plan(NamedTuple):
    """What is planned."""

    epochs: int
    steps: int
    """In each epoch; fewer than it has only where the budget ends within the first."""
    rate: float
    """The highest learning rate."""
    streamed: bool
    """Whether sequences stay on disk: a run that goes on reads them as it did before."""
    batch: int
    """Sequences that are read at once."""
    precision: PrecisionName
    """What it computes in."""
    kernels: str = TORCH
    """What the cells are read with; a run that goes on is held to it."""

    def settled(self, config: TrainingConfig) -> TrainingConfig:
        """Put what was measured in place of `auto`."""
        return replace(config, batch_size=self.batch, precision=self.precision)

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.epochs * self.steps


def kept_plan(checkpoints: Checkpoints) -> Plan | None:
    """Read the plan of a run that can go on."""
    data = checkpoints.load()
    return Plan(*loaded(data)["plan"]) if data else None


def make_plan(
    network: Network, training: Sequences, validation: Sequences, config: TrainingConfig
) -> Plan:
    """Plan a training; the network stays as it is."""
    config = with_batch(network, training, config)
    rate = config.learning_rate
    if rate == "auto":
        rate = find_rate(copy.deepcopy(network), training, config)
    steps, streamed = steps_in(training, config), isinstance(training, StreamedSet)
    plan = Plan(config.epochs, steps, rate, streamed, config.initial_batch_size, config.precision)
    if config.budget is None:
        return plan
    most = max(1.0, min(MEASURED, config.budget / 50))
    learning = step_seconds(copy.deepcopy(network), training, config, seconds=most)
    scoring = score_seconds(network, validation, config, seconds=most / 2)
    epoch = steps * learning + scoring
    if epoch <= config.budget:
        return plan._replace(epochs=min(config.epochs, int(config.budget / epoch)))
    return plan._replace(epochs=1, steps=max(1, int((config.budget - scoring) / learning)))


def planned(
    network: Network, training: Sequences, validation: Sequences, config: TrainingConfig
) -> Plan:
    """Plan a training that begins, and leave the random numbers as they were before."""
    plan = make_plan(network, training, validation, config)
    torch.manual_seed(config.seed)
    return plan._replace(kernels=computes_with(network))


def followed(network: Network, plan: Plan | None, keep: Callable[[str], bool]) -> Plan | None:
    """Take over a plan, and its kernels where they are here."""
    if plan is None:
        return None
    if not keep(plan.kernels):
        logger.warning("the kernels that this model was made with are not here; it may differ")
    return plan._replace(kernels=computes_with(network))


def find_rate(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Try ever larger steps until the loss rises (Smith 2017); take a tenth of the best rate.

    The network is used up.
    """
    network.train()
    weights = Weights(network, config)
    rates, steps = np.geomspace(LOWEST, HIGHEST, TRIED), endless(training, config)
    smooth, found = 0.0, []
    for place, (rate, (held, rows)) in enumerate(zip(rates, steps, strict=False)):
        loss = float(step(network, weights, held, rows=rows, rate=float(rate), config=config))
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
        if not math.isfinite(loss):
            break
        found.append(smooth / (1 - SMOOTHING ** (place + 1)))
        # The first ones are means of a few batches, lucky or not.
        if place >= SETTLED and found[-1] > WORSE * min(found[SETTLED:]):
            break
    best = SETTLED + int(np.argmin(found[SETTLED:])) if len(found) > SETTLED else 0
    return float(rates[best]) / BELOW


def step_seconds(
    network: Network, training: Sequences, config: TrainingConfig, *, seconds: float
) -> float:
    """Train for a moment and return the seconds of a step; the network is used up."""
    network.train()
    weights, steps = Weights(network, config), endless(training, config)
    most = steps_in(training, config)

    def learn() -> Tensor:
        held, rows = next(steps)
        return step(network, weights, held, rows=rows, rate=LOWEST, config=config)

    # The first one also makes room.
    float(learn())
    began, done = time.perf_counter(), 0
    while True:
        done += 1
        # Reading the loss waits for the device.
        loss = float(learn())
        passed = time.perf_counter() - began
        if not math.isfinite(loss) or passed > seconds or done == most:
            return passed / done


def score_seconds(
    network: Network, validation: Sequences, config: TrainingConfig, *, seconds: float
) -> float:
    """Score for a moment and return the seconds that all of the validation would take."""
    began, done = time.perf_counter(), 0
    with torch.no_grad():
        network.eval()
        for held, rows in fed(
            validation, plain(validation, batch=max(config.initial_batch_size, 256))
        ):
            float(loss_of(network, held, rows, config))
            done += len(rows)
            if time.perf_counter() - began > seconds:
                break
    return (time.perf_counter() - began) * len(validation) / done
