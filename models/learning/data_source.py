"""The order of rows and their batches, for sequences in memory and on disk alike."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.learning.batches import Batch, EpochPlan, LoadedStep, SequenceSet, cut_batches, gather
from models.learning.config import TrainingConfig
from models.learning.step import balance_classes, draw_steps
from models.learning.stream import (
    StreamingSet,
    cut_streaming_batches,
    draw_streaming_epoch,
    iterate_streaming,
)

Sequences = SequenceSet | StreamingSet


def draw_epoch(training: Sequences, config: TrainingConfig, *, epoch: int) -> EpochPlan:
    """Draw the rows of each step of an epoch; depends only on the seed and the epoch."""
    if isinstance(training, SequenceSet):
        return EpochPlan(draw_steps(training, config, epoch=epoch), [0])
    probabilities_S = balance_classes(training) if config.sampler == "balanced" else None
    generator = np.random.default_rng([config.seed, epoch])
    return draw_streaming_epoch(
        training,
        sequences_per_step=config.sequences_per_step,
        generator=generator,
        probabilities_S=probabilities_S,
    )


def draw_sequential(sequences: Sequences, *, batch: int) -> EpochPlan:
    """Cut all rows into batches by length, for prediction."""
    if isinstance(sequences, SequenceSet):
        return EpochPlan(cut_batches(sequences.lengths_S, batch=batch), [0])
    return cut_streaming_batches(sequences, batch=batch)


def iterate_steps(sequences: Sequences, plan: EpochPlan, *, first: int = 0) -> Iterator[LoadedStep]:
    """Yield the steps from `first` on, each with sequences that contain its rows."""
    if isinstance(sequences, StreamingSet):
        return iterate_streaming(sequences, plan, first=first)
    return (LoadedStep(sequences, rows) for rows in plan.steps[first:])


def repeat_first_epoch(training: Sequences, config: TrainingConfig) -> Iterator[LoadedStep]:
    """Yield the steps of the first epoch again and again, for measuring."""
    plan = draw_epoch(training, config, epoch=0)
    while True:
        yield from iterate_steps(training, plan)


def count_steps(training: Sequences, config: TrainingConfig) -> int:
    """Return the number of steps of an epoch."""
    return -(-len(training) // config.sequences_per_step)


def select_longest(sequences: Sequences, count: int) -> LoadedStep:
    """Return the longest sequences as one step."""
    rows = np.sort(np.argsort(sequences.lengths_S, kind="stable")[-count:])
    if isinstance(sequences, SequenceSet):
        return LoadedStep(sequences, rows)
    return LoadedStep(sequences.load(rows), np.arange(len(rows)))


def gather_rows(sequences: Sequences, rows: NDArray[np.int64]) -> Batch:
    """Gather a few rows into a batch."""
    if isinstance(sequences, SequenceSet):
        return gather(sequences, rows)
    unique_rows = np.unique(rows)
    return gather(sequences.load(unique_rows), np.searchsorted(unique_rows, rows))
