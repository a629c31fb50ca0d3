"""Random convolutions as features of a cheap, strong baseline for series, after MiniRocket.

Dempster, Schmidt and Webb 2021, as `models.networks.rocket` implements it; with a ridge classifier
they are hard to beat where there are few series.
Shapes: N steps, C channels, S sequences, F features.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.networks.jagged import Offsets
from models.networks.rocket import TAPS, Rocket

_MAX_STEPS = 2_000_000
"""Largest number of steps of all sequences that is convolved, which takes some minutes."""

_SAMPLE_STEPS = 50_000
"""Steps on which the thresholds of the convolutions are fitted."""

_BATCH_STEPS = 10_000
"""Steps of one batch."""

_MAX_CHANNELS = 256
"""Largest number of channels that is convolved."""


class SplitSequences(NamedTuple):
    """Sequences of one split: the steps from start to stop of each."""

    values_NC: NDArray[Any]
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """Number of steps of all sequences."""
        return int((self.stops_S - self.starts_S).sum())

    def iterate_batches(self) -> Iterator[tuple[torch.Tensor, Offsets]]:
        """Yield the sequences end to end, about `_BATCH_STEPS` steps at a time."""
        lengths_S = self.stops_S - self.starts_S
        group_S = (np.cumsum(lengths_S) - lengths_S) // _BATCH_STEPS
        for group in np.unique(group_S):
            rows = np.flatnonzero(group_S == group)
            parts = [self.values_NC[self.starts_S[row] : self.stops_S[row]] for row in rows]
            joined = torch.from_numpy(np.concatenate(parts).astype(np.float32))
            yield joined, Offsets.from_lengths(lengths_S[rows])

    def subsample(self, steps: int) -> "SplitSequences":
        """Select evenly spaced sequences of about `steps` steps in total."""
        share = min(1.0, steps / max(self.steps, 1))
        count = max(1, round(share * len(self.starts_S)))
        rows = np.linspace(0, len(self.starts_S) - 1, count).round().astype(np.int64)
        return SplitSequences(self.values_NC, self.starts_S[rows], self.stops_S[rows])


def build_rocket(channels: int) -> Rocket:
    """Build convolutions, the same in every run, that are not fitted yet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Rocket(channels)


def fit_rocket(training: SplitSequences, *, other_steps: int) -> Rocket | None:
    """Fit convolutions on training sequences; None where steps are not numeric, too few or many.

    Args:
        training: sequences to fit on.
        other_steps: steps of all further sequences that will be convolved.
    """
    channels = training.values_NC.shape[1]
    longest = int((training.stops_S - training.starts_S).max())
    floats = np.issubdtype(training.values_NC.dtype, np.floating)
    if not floats or channels > _MAX_CHANNELS or longest < TAPS:
        return None
    if training.steps + other_steps > _MAX_STEPS:
        return None
    rocket = build_rocket(channels)
    parts = list(training.subsample(_SAMPLE_STEPS).iterate_batches())
    lengths = np.concatenate([offsets.lengths for _, offsets in parts])
    rocket.fit(torch.cat([values_NC for values_NC, _ in parts]), Offsets.from_lengths(lengths))
    return rocket


def compute_convolution_features(rocket: Rocket, sequences: SplitSequences) -> NDArray[np.float32]:
    """Compute the features of sequences, [S, F]."""
    return np.concatenate([rocket(*batch).numpy() for batch in sequences.iterate_batches()])
