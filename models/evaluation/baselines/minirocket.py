"""Random convolutions as features of a cheap strong baseline for series, after MiniRocket.

Dempster, Schmidt and Webb 2021, in the form that `models.networks.rocket` has; a ridge classifier
on them is hard to beat where series are few.
Shapes: N steps, C channels, S sequences, F features.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.networks.jagged import Offsets
from models.networks.rocket import TAPS, Rocket

MAX_STEPS = 2_000_000
"""Steps of all sequences up to which they are convolved: some minutes."""

SAMPLE_STEPS = 50_000
"""Steps on which the convolutions' thresholds are chosen."""

BATCH_STEPS = 10_000

MAX_CHANNELS = 256


class SplitSequences(NamedTuple):
    """Sequences of one split."""

    values_NC: NDArray[Any]
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """Count the steps of all sequences."""
        return int((self.stops_S - self.starts_S).sum())

    def batches(self) -> Iterator[tuple[torch.Tensor, Offsets]]:
        """Lay sequences end to end, some thousands of steps at a time."""
        lengths_S = self.stops_S - self.starts_S
        group_S = (np.cumsum(lengths_S) - lengths_S) // BATCH_STEPS
        for group in np.unique(group_S):
            rows = np.flatnonzero(group_S == group)
            parts = [self.values_NC[self.starts_S[row] : self.stops_S[row]] for row in rows]
            joined = torch.from_numpy(np.concatenate(parts).astype(np.float32))
            yield joined, Offsets.from_lengths(lengths_S[rows])

    def first(self, steps: int) -> "SplitSequences":
        """Take sequences spread evenly, of about so many steps."""
        share = min(1.0, steps / max(self.steps, 1))
        count = max(1, round(share * len(self.starts_S)))
        rows = np.linspace(0, len(self.starts_S) - 1, count).round().astype(np.int64)
        return SplitSequences(self.values_NC, self.starts_S[rows], self.stops_S[rows])


def convolve(
    training: SplitSequences, test: SplitSequences
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Convolve both; None where steps are no numbers, too few or too many.

    Returns:
        Features of the training and of the test sequences, [S, F] each.
    """
    channels = training.values_NC.shape[1]
    longest = int((training.stops_S - training.starts_S).max())
    floats = np.issubdtype(training.values_NC.dtype, np.floating)
    if not floats or channels > MAX_CHANNELS or longest < TAPS:
        return None
    if training.steps + test.steps > MAX_STEPS:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rocket = Rocket(channels)
    parts = list(training.first(SAMPLE_STEPS).batches())
    lengths = np.concatenate([offsets.lengths for _, offsets in parts])
    rocket.fit(torch.cat([values_NC for values_NC, _ in parts]), Offsets.from_lengths(lengths))
    first, second = (
        np.concatenate([rocket(*batch).numpy() for batch in cut.batches()])
        for cut in (training, test)
    )
    return first, second
