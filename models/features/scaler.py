"""Standard scaling, fitted on the training steps alone, in one pass over chunks.

Sums are kept in float64 around each channel's mean in its first chunk, so that data far from
zero keeps its digits.
Shapes: N steps, C channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.steps import Floats

FARTHEST = 1e6
"""Spreads from the mean that an absurd value is taken to lie off, so that it stays a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaler:
    """Mean and spread of each channel, and which channels get a companion that flags gaps."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    """Standard deviation; 1 where a channel never changes."""
    gaps: tuple[int, ...]
    """Channels with missing values in training: each adds a channel, 1 where it is missing."""

    @property
    def channels(self) -> int:
        """Channels after scaling."""
        return len(self.mean) + len(self.gaps)

    def transform(self, values_NC: Floats) -> Floats:
        """Centre, scale, and put the training mean where a value is missing or not finite."""
        missing_NC = ~np.isfinite(values_NC)
        scaled_NC = (values_NC.astype(np.float64) - np.array(self.mean)) / np.array(self.spread)
        scaled_NC[missing_NC] = 0.0
        scaled_NC = np.clip(scaled_NC, -FARTHEST, FARTHEST)
        flags = missing_NC[:, list(self.gaps)].astype(np.float32)
        return np.ascontiguousarray(np.concatenate([scaled_NC, flags], axis=1), np.float32)


@dataclass(slots=True)
class Moments:
    """Running sums of a stream of chunks."""

    count: NDArray[np.int64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    missing: NDArray[np.int64]
    origin: NDArray[np.float64]


def fit_scaler(chunks: Iterable[Floats], *, columns: list[str], shared: bool) -> Scaler:
    """Fit on the training steps.

    Args:
        chunks: arrays [n, C] in any cut; the sums depend on the cut in their last bits.
        columns: what to call the channels in a message.
        shared: one mean and spread for all channels, as for the pixels of an image.

    Raises:
        UnlearnableError: a channel has no finite value.
    """
    moments, channels = None, 1
    for chunk_NC in chunks:
        channels = chunk_NC.shape[1]
        values = chunk_NC.reshape(-1, 1) if shared else chunk_NC
        moments = add_chunk(moments, values.astype(np.float64))
    if moments is None:
        raise UnlearnableError("the training split has no steps")
    for channel in np.flatnonzero(moments.count == 0):
        raise UnlearnableError(f"column '{columns[channel]}' has no finite value in training")
    shift = moments.total / moments.count
    mean = moments.origin + shift
    spread = np.sqrt(np.maximum(moments.squares / moments.count - shift**2, 0.0))
    spread[spread <= 1e-12 * np.abs(mean)] = 1.0
    copies = channels if shared else 1
    return Scaler(
        mean=tuple(np.repeat(mean, copies).tolist()),
        spread=tuple(np.repeat(spread, copies).tolist()),
        gaps=() if shared else tuple(np.flatnonzero(moments.missing).tolist()),
    )


def add_chunk(moments: Moments | None, chunk_NC: NDArray[np.float64]) -> Moments:
    """Add one chunk to the running sums."""
    finite_NC = np.isfinite(chunk_NC)
    count = finite_NC.sum(axis=0)
    if moments is None:
        zeros = np.zeros(chunk_NC.shape[1])
        whole = zeros.astype(np.int64)
        moments = Moments(whole, zeros, zeros, whole, zeros)
    here = np.where(finite_NC, chunk_NC, 0.0).sum(axis=0) / np.maximum(count, 1)
    origin = np.where(moments.count == 0, here, moments.origin)
    centred_NC = np.where(finite_NC, chunk_NC - origin, 0.0)
    return Moments(
        count=moments.count + count,
        total=moments.total + centred_NC.sum(axis=0),
        squares=moments.squares + (centred_NC**2).sum(axis=0),
        missing=moments.missing + (~finite_NC).sum(axis=0),
        origin=origin,
    )
