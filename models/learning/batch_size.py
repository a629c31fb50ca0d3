"""`batch_size: auto`: the largest batch that is faster and fits into memory.

Powers of two are tried upwards on a copy of the network, with the longest sequences first: if those
fit, all do. A larger one is taken only where it processes clearly more steps a second, and an epoch
keeps enough optimizer steps.
"""

import copy
import time
from dataclasses import replace
from statistics import median

import torch

from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, repeat_first_epoch, select_longest
from models.learning.step import take_step
from models.learning.weights import Optimizer
from models.networks.network import Network

LEAST, MOST = 16, 512
"""Smallest and largest size that is tried; smaller ones only where the smallest does not fit."""
EPOCH_STEPS = 50
"""Optimizer steps that an epoch keeps with a larger batch."""
GAIN = 1.1
"""Required speed relative to the size before, to be worth fewer steps."""
TIMED = 8
"""Timed steps of each size."""
SECONDS = 0.5
"""Time limit for each size."""


def resolve_batch_size(
    network: Network, training: Sequences, config: TrainingConfig
) -> TrainingConfig:
    """Replace `auto` by a measured batch size; the network is not changed."""
    if config.batch_size != "auto":
        return config
    return replace(config, batch_size=find_batch_size(network, training, config))


def find_batch_size(network: Network, training: Sequences, config: TrainingConfig) -> int:
    """Try larger batches until one is not faster, or does not fit.

    Raises:
        OutOfMemoryError: torch's; not even one sequence fits into the device's memory.
    """
    best, fastest = LEAST, measure_speed(network, training, replace(config, batch_size=LEAST))
    if not fastest:
        return find_small_batch_size(network, training, config)
    for size in list_batch_sizes(len(training), config.gradient_accumulation):
        found = measure_speed(network, training, replace(config, batch_size=size))
        if found <= GAIN * fastest:
            break
        best, fastest = size, found
    return best


def list_batch_sizes(rows: int, accumulate: int) -> list[int]:
    """Return the larger sizes that leave an epoch enough steps."""
    most = min(MOST, rows // (EPOCH_STEPS * accumulate))
    return [size for size in (32, 64, 128, 256, 512) if size <= most]


def find_small_batch_size(network: Network, training: Sequences, config: TrainingConfig) -> int:
    """Return the largest size below the smallest usual one that fits."""
    size = LEAST // 2
    while size > 1 and not measure_speed(network, training, replace(config, batch_size=size)):
        size //= 2
    return size


def measure_speed(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Return the time steps processed per second; 0 where the batch does not fit."""
    try:
        return time_steps(copy.deepcopy(network).train(), training, config)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return 0.0


def time_steps(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Train a few steps, the longest sequences first; the network is changed."""
    weights, speeds = Optimizer(network, config), []
    held, rows = select_longest(training, config.sequences_per_step)
    # The first one also allocates memory. Reading a loss waits for the device.
    float(take_step(network, weights, held, rows=rows, rate=0.0, config=config))
    began = time.perf_counter()
    for held, rows in repeat_first_epoch(training, config):
        before = time.perf_counter()
        float(take_step(network, weights, held, rows=rows, rate=0.0, config=config))
        now = time.perf_counter()
        speeds.append(int(held.lengths_S[rows].sum()) / max(now - before, 1e-9))
        if len(speeds) == TIMED or now - began > SECONDS:
            break
    return median(speeds)
