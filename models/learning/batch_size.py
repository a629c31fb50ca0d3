"""How many sequences to read at once: as many as make learning faster, and as fit.

Powers of two are tried upwards on a network that is thrown away, the longest sequences first: if
those fit, all do. A larger one is taken only where it reads clearly more steps a second, and an
epoch keeps so many steps that there is something to learn by.
"""

import copy
import time
from dataclasses import replace
from statistics import median

import torch

from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, endless, longest
from models.learning.step import step
from models.learning.weights import Weights
from models.networks.network import Network

LEAST, MOST = 16, 512
"""Sizes that are tried; below the least only where that does not fit."""
EPOCH_STEPS = 50
"""Steps that an epoch keeps, where it has the least size for each."""
GAIN = 1.1
"""Times as fast as the size before, at least, to be worth fewer steps."""
TIMED = 8
"""Steps that are timed of each size."""
SECONDS = 0.5
"""Time after which no further step of a size is begun."""


def with_batch(network: Network, training: Sequences, config: TrainingConfig) -> TrainingConfig:
    """Settle the batch size; the network stays as it is."""
    if config.batch_size != "auto":
        return config
    return replace(config, batch_size=find_batch(network, training, config))


def find_batch(network: Network, training: Sequences, config: TrainingConfig) -> int:
    """Try ever larger batches until one is no faster, or does not fit.

    Raises:
        OutOfMemoryError: torch's; the device has no room for a single sequence.
    """
    best, fastest = LEAST, speed(network, training, replace(config, batch_size=LEAST))
    if not fastest:
        return smaller(network, training, config)
    for size in sizes(len(training), config.gradient_accumulation):
        found = speed(network, training, replace(config, batch_size=size))
        if found <= GAIN * fastest:
            break
        best, fastest = size, found
    return best


def sizes(rows: int, accumulate: int) -> list[int]:
    """List the sizes above the least that leave an epoch its steps."""
    most = min(MOST, rows // (EPOCH_STEPS * accumulate))
    return [size for size in (32, 64, 128, 256, 512) if size <= most]


def smaller(network: Network, training: Sequences, config: TrainingConfig) -> int:
    """Find the largest size below the least that fits."""
    size = LEAST // 2
    while size > 1 and not speed(network, training, replace(config, batch_size=size)):
        size //= 2
    return size


def speed(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Tell how many steps of sequences are read a second; 0 where they do not fit."""
    try:
        return timed(copy.deepcopy(network).train(), training, config)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return 0.0


def timed(network: Network, training: Sequences, config: TrainingConfig) -> float:
    """Learn a few steps, the longest sequences first; the network is used up."""
    weights, speeds = Weights(network, config), []
    held, rows = longest(training, config.unit)
    # It also makes room. Reading a loss waits for the device.
    float(step(network, weights, held, rows=rows, rate=0.0, config=config))
    began = time.perf_counter()
    for held, rows in endless(training, config):
        before = time.perf_counter()
        float(step(network, weights, held, rows=rows, rate=0.0, config=config))
        now = time.perf_counter()
        speeds.append(int(held.lengths_S[rows].sum()) / max(now - before, 1e-9))
        if len(speeds) == TIMED or now - began > SECONDS:
            break
    return median(speeds)
