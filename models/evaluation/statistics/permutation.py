"""How large a gain is by chance alone: who gave which answer is swapped at random.

Where challenger and rival are equally good, it is chance who gave which of the two answers to a
row. So the gains after random swaps are what chance would have shown on these very rows (a paired
permutation test: Fisher 1935; for metrics that are no means, Yeh 2000). Unlike a bootstrap it
needs no large numbers: a class of three rows is told as it is.
Shapes: R rows, B swaps.
"""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import AdditiveMetric, Floats, Metric
from models.evaluation.predictions import Predictions

CHUNK = 8_000_000
"""Flags that are held at once."""


def compute_null_gains(
    metric: Metric,
    challenger: Predictions,
    rival: Predictions,
    *,
    count: int,
    block: int,
    seed: int,
) -> Floats:
    """Compute the gains after random swaps, [B]; runs of `block` neighbours swap together."""
    draw = np.random.default_rng(seed)
    count = min(metric.limit_samples(each, count) for each in (challenger, rival))
    size = max(1, CHUNK // max(len(challenger), 1))
    held = []
    for start in range(0, count, size):
        here = min(size, count - start)
        swaps_BR = draw_swaps(draw, here, rows=len(challenger), block=block)
        held.append(compute_swapped_gains(metric, challenger, rival, swaps_BR))
    return np.concatenate(held)


def draw_swaps(
    draw: np.random.Generator, count: int, *, rows: int, block: int
) -> NDArray[np.bool_]:
    """Draw which rows are swapped, [B, R]."""
    runs_BN = draw.random((count, -(-rows // block) + 1)) < 0.5
    # Where the runs begin is drawn as well, so that no edge stands still.
    places_BR = (np.arange(rows) + draw.integers(0, block, count)[:, None]) // block
    return np.take_along_axis(runs_BN, places_BR, axis=1)


def compute_swapped_gains(
    metric: Metric, challenger: Predictions, rival: Predictions, swaps_BR: NDArray[np.bool_]
) -> Floats:
    """Compute the gains after these swaps, [B]; sums are moved, all else is computed anew."""
    if not isinstance(metric, AdditiveMetric):
        gains = [
            metric(mix_predictions(challenger, rival, swap_R))
            - metric(mix_predictions(rival, challenger, swap_R))
            for swap_R in swaps_BR
        ]
        return np.asarray(gains, np.float64)
    own_RF, other_RF = metric.terms(challenger), metric.terms(rival)
    moved_BF = np.asarray(swaps_BR.astype(np.float64) @ (other_RF - own_RF))
    own_F, other_F = (np.asarray(each.sum(axis=0), np.float64) for each in (own_RF, other_RF))
    own_B, other_B = metric.total(own_F + moved_BF), metric.total(other_F - moved_BF)
    return np.asarray(own_B - other_B)


def mix_predictions(one: Predictions, other: Predictions, swap_R: NDArray[np.bool_]) -> Predictions:
    """Take the marked rows from the other."""
    held: dict[str, Any] = {}
    for field in fields(one):  # type: ignore[arg-type]
        own, their = getattr(one, field.name), getattr(other, field.name)
        if isinstance(own, np.ndarray):
            swap = swap_R.reshape(-1, *[1] * (own.ndim - 1))
            own = np.where(swap, their, own)
        held[field.name] = own
    return type(one)(**held)
