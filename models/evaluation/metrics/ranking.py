"""Metrics of how well probabilities rank rows: one class against the rest, averaged over classes.

Shapes: R rows, B resamples, K classes, G groups of rows with equal probability, highest first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import Floats, divide_with_default
from models.evaluation.predictions import SinglePredictions

_MAX_SORTED_PROBABILITIES = 40_000_000
"""Probabilities that are ranked for one interval, which takes some seconds."""

_MIN_SAMPLES = 200
"""Resamples that are drawn even of very many rows."""

BINNED_FROM_ROWS = 20_000
"""Number of rows from which on resamples are scored with neighbouring ranks binned."""

_BINS = 2_000
"""Bins of ranks. The area of all rows is exact; resamples are corrected by the difference."""

Curve = Callable[[Floats, Floats], Floats]
"""From the positive and the negative rows of each group, [G, B] each, to an area, [B]."""

_Area = Callable[[SinglePredictions, int, Floats], Floats]
"""From predictions, a class and how often each row is drawn, [R, B], to an area, [B]."""


@dataclass(frozen=True, slots=True)
class RankingMetric:
    """The mean area under a curve of each class against the rest; NaN without probabilities.

    A class that no row, or every row, of a resample has is left out.
    """

    curve: Curve

    def __call__(self, predictions: SinglePredictions, /) -> float:
        """Score all rows."""
        return float(
            self._average_classes(predictions, np.ones((len(predictions), 1)), self._compute_area)[
                0
            ]
        )

    def compute_resampled(self, predictions: SinglePredictions, counts_BR: Floats) -> Floats:
        """Score resamples of the rows, [B]."""
        # Contiguous by row, so that sorting the rows moves whole blocks of memory.
        counts_RB = np.ascontiguousarray(counts_BR.T)
        if len(predictions) < BINNED_FROM_ROWS:
            return self._average_classes(predictions, counts_RB, self._compute_area)
        binned = self._average_classes(
            predictions, np.ones((len(predictions), 1)), self._compute_binned_area
        )
        resampled_B = self._average_classes(predictions, counts_RB, self._compute_binned_area)
        return np.asarray(resampled_B + self(predictions) - binned)

    def _average_classes(
        self, predictions: SinglePredictions, counts_RB: Floats, area: _Area
    ) -> Floats:
        """Average an area over the classes, [B]."""
        total_B, known_B = np.zeros(counts_RB.shape[1]), np.zeros(counts_RB.shape[1])
        for code in _list_classes(predictions):
            area_B = area(predictions, code, counts_RB)
            known_B += np.isfinite(area_B)
            total_B += np.nan_to_num(area_B)
        return divide_with_default(total_B, known_B, default=np.nan)

    def _compute_area(self, predictions: SinglePredictions, code: int, counts_RB: Floats) -> Floats:
        """Compute the area of one class against the rest, [B]."""
        order, edges = _rank_rows(predictions, code)
        positive_R1 = (predictions.target_R[order] == code).astype(np.float64)[:, None]
        ranked_RB = counts_RB[order]
        positive_GB, rows_GB = ranked_RB * positive_R1, ranked_RB
        if len(edges) < len(order):
            positive_GB, rows_GB = (
                np.add.reduceat(x, edges, axis=0) for x in (positive_GB, rows_GB)
            )
        return self.curve(positive_GB, rows_GB - positive_GB)

    def _compute_binned_area(
        self, predictions: SinglePredictions, code: int, counts_RB: Floats
    ) -> Floats:
        """Approximate the area of one class, with binned ranks and one sparse product, [B]."""
        from scipy.sparse import csr_array

        order, edges = _rank_rows(predictions, code)
        rows = len(order)
        # Rows of equal probability share a bin: that of the first of them.
        first_R = np.repeat(edges, np.diff(edges, append=rows))
        negative_R = predictions.target_R[order] != code
        group_R = first_R * _BINS // rows + _BINS * negative_R
        shape = (2 * _BINS, rows)
        both_GB = csr_array((np.ones(rows), (group_R, order)), shape=shape) @ counts_RB
        return self.curve(both_GB[:_BINS], both_GB[_BINS:])

    def limit_samples(self, predictions: SinglePredictions, count: int) -> int:
        """Return how many resamples can be scored in seconds, at most `count`."""
        work = len(predictions) * max(1, len(_list_classes(predictions)))
        return min(count, max(_MIN_SAMPLES, _MAX_SORTED_PROBABILITIES // work))


def _rank_rows(
    predictions: SinglePredictions, code: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows by descending probability of a class, and the start of each run of equals."""
    assert predictions.probabilities_RK is not None  # noqa: S101 - _list_classes is empty without
    probability_R = np.nan_to_num(predictions.probabilities_RK[:, code])
    order = np.argsort(-probability_R, kind="stable")
    return order, np.flatnonzero(np.diff(probability_R[order], prepend=np.inf) != 0)


def _list_classes(predictions: SinglePredictions) -> list[int]:
    """List the classes among the targets; none where probabilities are unknown."""
    if predictions.probabilities_RK is None:
        return []
    return [int(code) for code in np.unique(predictions.target_R) if code >= 0]


def _compute_roc_area(positive_GB: Floats, negative_GB: Floats) -> Floats:
    """Probability that a positive row ranks above a negative one; equal ones count half."""
    negatives_B = negative_GB.sum(axis=0)
    negatives_above_GB = np.cumsum(negative_GB, axis=0)
    negatives_above_GB -= negative_GB / 2
    misranked_B = np.einsum("gb,gb->b", positive_GB, negatives_above_GB)
    pairs_B = positive_GB.sum(axis=0) * negatives_B
    return divide_with_default(pairs_B - misranked_B, pairs_B, default=np.nan)


def _compute_average_precision(positive_GB: Floats, negative_GB: Floats) -> Floats:
    """Average precision: the precision at each step of recall, weighted by the rise in recall."""
    precision_GB = np.cumsum(positive_GB, axis=0)
    predicted_GB = precision_GB + np.cumsum(negative_GB, axis=0)
    precision_GB /= np.maximum(predicted_GB, 1.0)
    positives_B = positive_GB.sum(axis=0)
    area_B = np.einsum("gb,gb->b", positive_GB, precision_GB)
    # Without a negative row there is nothing to rank.
    return divide_with_default(
        area_B, np.where(negative_GB.any(axis=0), positives_B, 0.0), default=np.nan
    )


auroc, average_precision = (
    RankingMetric(_compute_roc_area),
    RankingMetric(_compute_average_precision),
)
