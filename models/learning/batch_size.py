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
from models.learning.optimizer import Optimizer
from models.learning.step import take_step
from models.networks.network import Network

MIN_BATCH_SIZE, MAX_BATCH_SIZE = 16, 512
"""Smallest and largest size that is tried; smaller ones only where the smallest does not fit."""
MIN_EPOCH_STEPS = 50
"""Fewest optimizer steps of an epoch for which a larger batch is tried."""
MIN_SPEEDUP = 1.1
"""Required ratio of the speed to that of the size before, to be worth fewer steps."""
TIMED_STEPS = 8
"""Steps that are timed for each size."""
TIME_LIMIT_SECONDS = 0.5
"""Time limit for each size."""

_DEFAULT_MIN, _DEFAULT_MAX = 4, 64
_DEFAULT_STEPS = 10
"""Bounds of the batch size by default, and the steps that it leaves in an epoch."""


def resolve_batch_size(
    network: Network, training: Sequences, config: TrainingConfig
) -> TrainingConfig:
    """Replace `auto` and `fastest` by a batch size; the network is not changed."""
    if config.batch_size == "auto":
        return replace(config, batch_size=choose_batch_size(len(training)))
    if config.batch_size != "fastest":
        return config
    return replace(config, batch_size=find_batch_size(network, training, config))


def choose_batch_size(rows: int) -> int:
    """Return the largest power of two from 4 to 64 that leaves 10 steps in an epoch."""
    wanted = min(_DEFAULT_MAX, max(_DEFAULT_MIN, rows // _DEFAULT_STEPS))
    return int(2 ** (wanted.bit_length() - 1))


def find_batch_size(network: Network, training: Sequences, config: TrainingConfig) -> int:
    """Try larger batches until one is not faster, or does not fit.

    Raises:
        OutOfMemoryError: torch's; not even one sequence fits into the device's memory.
    """
    best, fastest = (
        MIN_BATCH_SIZE,
        _measure_speed(network, training, replace(config, batch_size=MIN_BATCH_SIZE)),
    )
    if not fastest:
        return _find_small_batch_size(network, training, config)
    for size in list_batch_sizes(len(training), config.gradient_accumulation):
        speed = _measure_speed(network, training, replace(config, batch_size=size))
        if speed <= MIN_SPEEDUP * fastest:
            break
        best, fastest = size, speed
    return best


def list_batch_sizes(rows: int, gradient_accumulation: int) -> list[int]:
    """Return the sizes above `MIN_BATCH_SIZE` that leave an epoch enough steps."""
    largest = min(MAX_BATCH_SIZE, rows // (MIN_EPOCH_STEPS * gradient_accumulation))
    return [size for size in (32, 64, 128, 256, 512) if size <= largest]


def _find_small_batch_size(network: Network, training: Sequences, config: TrainingConfig) -> int:
    """Return the largest power of two below `MIN_BATCH_SIZE` that fits into memory."""
    size = MIN_BATCH_SIZE // 2
    while size > 1 and not _measure_speed(network, training, replace(config, batch_size=size)):
        size //= 2
    return size


def _measure_speed(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Return the time steps processed per second; 0 where the batch does not fit."""
    try:
        return _time_steps(copy.deepcopy(network).train(), training, config)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return 0.0


def _time_steps(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Return the median of the time steps per second of a few training steps.

    The longest sequences come first. The network is changed.
    """
    optimizer, speeds = Optimizer(network, config), []
    sequences, rows = select_longest(training, config.sequences_per_step)
    # The first one also allocates memory. Reading a loss waits for the device.
    float(take_step(network, optimizer, sequences, rows=rows, learning_rate=0.0, config=config))
    began = time.perf_counter()
    for sequences, rows in repeat_first_epoch(training, config):
        before = time.perf_counter()
        float(take_step(network, optimizer, sequences, rows=rows, learning_rate=0.0, config=config))
        now = time.perf_counter()
        speeds.append(int(sequences.lengths_S[rows].sum()) / max(now - before, 1e-9))
        if len(speeds) == TIMED_STEPS or now - began > TIME_LIMIT_SECONDS:
            break
    return median(speeds)
