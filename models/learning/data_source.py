"""Which rows come when, and from where: one door to sequences in memory and to those on disk."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.learning.batches import Batch, Drawn, Fed, SequenceSet, gather, plain_order
from models.learning.config import TrainingConfig
from models.learning.step import balanced, orders
from models.learning.stream import StreamedSet, draw_streamed, feed_streamed, plain_streamed

Sequences = SequenceSet | StreamedSet


def drawn(training: Sequences, config: TrainingConfig, *, epoch: int) -> Drawn:
    """Draw the rows of each step of an epoch, from the seed and the epoch alone."""
    if isinstance(training, SequenceSet):
        return Drawn(orders(training, config, epoch=epoch), [0])
    shares_S = balanced(training) if config.sampler == "balanced" else None
    draw = np.random.default_rng([config.seed, epoch])
    return draw_streamed(training, unit=config.unit, draw=draw, shares_S=shares_S)


def plain(sequences: Sequences, *, batch: int) -> Drawn:
    """Cut all rows into batches by length, for scoring."""
    if isinstance(sequences, SequenceSet):
        return Drawn(plain_order(sequences.lengths_S, batch=batch), [0])
    return plain_streamed(sequences, batch=batch)


def fed(sequences: Sequences, order: Drawn, *, first: int = 0) -> Iterator[Fed]:
    """Give the steps from `first` on, each with the sequences that its rows are of."""
    if isinstance(sequences, StreamedSet):
        return feed_streamed(sequences, order, first=first)
    return (Fed(sequences, rows) for rows in order.steps[first:])


def endless(training: Sequences, config: TrainingConfig) -> Iterator[Fed]:
    """Give the steps of the first epoch again and again, for measuring."""
    order = drawn(training, config, epoch=0)
    while True:
        yield from fed(training, order)


def steps_in(training: Sequences, config: TrainingConfig) -> int:
    """Count the steps of an epoch."""
    return -(-len(training) // config.unit)


def longest(sequences: Sequences, count: int) -> Fed:
    """Give the longest sequences as one step."""
    rows = np.sort(np.argsort(sequences.lengths_S, kind="stable")[-count:])
    if isinstance(sequences, SequenceSet):
        return Fed(sequences, rows)
    return Fed(sequences.part(rows), np.arange(len(rows)))


def sample(sequences: Sequences, rows: NDArray[np.int64]) -> Batch:
    """Gather a few rows, wherever they lie."""
    if isinstance(sequences, SequenceSet):
        return gather(sequences, rows)
    held = np.unique(rows)
    return gather(sequences.part(held), np.searchsorted(held, rows))
