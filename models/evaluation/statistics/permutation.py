"""Size of a gain by chance: the distribution of gains when predictions are swapped at random.

If two models are equally good, their predictions of a row are exchangeable, so the gains after
random swaps are what chance shows on these rows (a paired permutation test: Fisher 1935; for
metrics that are not means, Yeh 2000). Unlike a bootstrap it needs no large numbers: it is also
valid for a class of three rows.
Shapes: R rows, B swaps, F terms, N runs.
"""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import AdditiveMetric, Floats, Metric
from models.evaluation.predictions import Predictions

_CHUNK = 8_000_000
"""Largest number of flags in memory."""


def compute_null_gains(
    metric: Metric,
    challenger: Predictions,
    reference: Predictions,
    *,
    count: int,
    block: int,
    seed: int,
) -> Floats:
    """Compute the gains after random swaps, [B]; runs of `block` neighbours swap together."""
    generator = np.random.default_rng(seed)
    count = min(metric.limit_samples(each, count) for each in (challenger, reference))
    size = max(1, _CHUNK // max(len(challenger), 1))
    gains = []
    for start in range(0, count, size):
        chunk = min(size, count - start)
        swaps_BR = _draw_swaps(generator, chunk, rows=len(challenger), block=block)
        gains.append(_compute_swapped_gains(metric, challenger, reference, swaps_BR))
    return np.concatenate(gains)


def _draw_swaps(
    generator: np.random.Generator, count: int, *, rows: int, block: int
) -> NDArray[np.bool_]:
    """Draw which rows are swapped, [B, R]."""
    runs_BN = generator.random((count, -(-rows // block) + 1)) < 0.5
    # The start of the runs is random too, so that their edges are not always at the same rows.
    run_BR = (np.arange(rows) + generator.integers(0, block, count)[:, None]) // block
    return np.take_along_axis(runs_BN, run_BR, axis=1)


def _compute_swapped_gains(
    metric: Metric, challenger: Predictions, reference: Predictions, swaps_BR: NDArray[np.bool_]
) -> Floats:
    """Compute the gains after these swaps, [B]; of additive metrics from changed sums."""
    if not isinstance(metric, AdditiveMetric):
        gains = [
            metric(_mix_predictions(challenger, reference, swap_R))
            - metric(_mix_predictions(reference, challenger, swap_R))
            for swap_R in swaps_BR
        ]
        return np.asarray(gains, np.float64)
    own_RF, other_RF = metric.terms(challenger), metric.terms(reference)
    moved_BF = np.asarray(swaps_BR.astype(np.float64) @ (other_RF - own_RF))
    own_F, other_F = (np.asarray(each.sum(axis=0), np.float64) for each in (own_RF, other_RF))
    own_B, other_B = metric.total(own_F + moved_BF), metric.total(other_F - moved_BF)
    return np.asarray(own_B - other_B)


def _mix_predictions(
    one: Predictions, other: Predictions, swap_R: NDArray[np.bool_]
) -> Predictions:
    """Return the predictions of one model, with the marked rows from the other."""
    values: dict[str, Any] = {}
    for field in fields(one):  # type: ignore[arg-type]
        value, swapped = getattr(one, field.name), getattr(other, field.name)
        if isinstance(value, np.ndarray):
            swap = swap_R.reshape(-1, *[1] * (value.ndim - 1))
            value = np.where(swap, swapped, value)
        values[field.name] = value
    return type(one)(**values)
