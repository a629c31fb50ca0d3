"""Metrics of how well probabilities rank rows, class against rest, averaged over classes.

Shapes: R rows, B resamples, K classes, G groups of rows with one
probability, the highest first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import Floats, divide_or
from models.evaluation.predictions import SinglePredictions

BUDGET = 40_000_000
"""Probabilities that are looked at for one interval: some seconds."""

MIN_SAMPLES = 200
"""Resamples that are drawn all the same."""

BINNED_FROM_ROWS = 20_000
"""Rows from which on neighbours in rank are counted together in resamples."""

BINS = 2_000
"""Into which they are divided; the area of all rows is exact, and resamples are moved to it."""

Curve = Callable[[Floats, Floats], Floats]
"""From the right and the wrong rows of each group, [G, B], to an area, [B]."""

Area = Callable[[SinglePredictions, int, Floats], Floats]
"""From answers, a class and how often each row is held, [R, B], to an area, [B]."""


@dataclass(frozen=True, slots=True)
class RankingMetric:
    """The mean area under a curve of each class against the rest; NaN without probabilities.

    Left out are classes that no row, or every row, of a resample is of.
    """

    curve: Curve

    def __call__(self, answers: SinglePredictions, /) -> float:
        """Score these rows."""
        return float(self.averaged(answers, np.ones((len(answers), 1)), self.area)[0])

    def compute_resampled(self, answers: SinglePredictions, counts_BR: Floats) -> Floats:
        """Score resamples of them, [B]."""
        # Row by row in memory, so that sorting them moves whole lines.
        counts_RB = np.ascontiguousarray(counts_BR.T)
        if len(answers) < BINNED_FROM_ROWS:
            return self.averaged(answers, counts_RB, self.area)
        rough = self.averaged(answers, np.ones((len(answers), 1)), self.rough_area)
        found_B = self.averaged(answers, counts_RB, self.rough_area)
        return np.asarray(found_B + self(answers) - rough)

    def averaged(self, answers: SinglePredictions, counts_RB: Floats, area: Area) -> Floats:
        """Average over classes, [B]."""
        total_B, known_B = np.zeros(counts_RB.shape[1]), np.zeros(counts_RB.shape[1])
        for code in list_classes(answers):
            area_B = area(answers, code, counts_RB)
            known_B += np.isfinite(area_B)
            total_B += np.nan_to_num(area_B)
        return divide_or(total_B, known_B, otherwise=np.nan)

    def area(self, answers: SinglePredictions, code: int, counts_RB: Floats) -> Floats:
        """Score one class against the rest, [B]."""
        order, edges = rank_rows(answers, code)
        right_R1 = (answers.target_R[order] == code).astype(np.float64)[:, None]
        counted_RB = counts_RB[order]
        right_GB, every_GB = counted_RB * right_R1, counted_RB
        if len(edges) < len(order):
            right_GB, every_GB = (np.add.reduceat(x, edges, axis=0) for x in (right_GB, every_GB))
        return self.curve(right_GB, every_GB - right_GB)

    def rough_area(self, answers: SinglePredictions, code: int, counts_RB: Floats) -> Floats:
        """Score one class against the rest with few groups, which is one sparse product, [B]."""
        from scipy.sparse import csr_array

        order, edges = rank_rows(answers, code)
        rows = len(order)
        # Equal probabilities stay together: all stand where the first of them does.
        first_R = np.repeat(edges, np.diff(edges, append=rows))
        wrong_R = answers.target_R[order] != code
        line_R = first_R * BINS // rows + BINS * wrong_R
        shape = (2 * BINS, rows)
        both_GB = csr_array((np.ones(rows), (line_R, order)), shape=shape) @ counts_RB
        return self.curve(both_GB[:BINS], both_GB[BINS:])

    def limit_samples(self, answers: SinglePredictions, count: int) -> int:
        """Return how many resamples are scored in seconds, at most `count`."""
        work = len(answers) * max(1, len(list_classes(answers)))
        return min(count, max(MIN_SAMPLES, BUDGET // work))


def rank_rows(answers: SinglePredictions, code: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order rows by their probability of a class, and tell where each next one begins."""
    assert answers.probabilities_RK is not None  # noqa: S101 - no class is looked at without
    probability_R = np.nan_to_num(answers.probabilities_RK[:, code])
    order = np.argsort(-probability_R, kind="stable")
    return order, np.flatnonzero(np.diff(probability_R[order], prepend=np.inf) != 0)


def list_classes(answers: SinglePredictions) -> list[int]:
    """List the classes that some row is of; none where probabilities are not known."""
    if answers.probabilities_RK is None:
        return []
    return [int(code) for code in np.unique(answers.target_R) if code >= 0]


def compute_roc_area(right_GB: Floats, wrong_GB: Floats) -> Floats:
    """Chance that a right row has the higher probability; of equal ones, half."""
    wrong_B = wrong_GB.sum(axis=0)
    lost_GB = np.cumsum(wrong_GB, axis=0)
    lost_GB -= wrong_GB / 2
    lost_B = np.einsum("gb,gb->b", right_GB, lost_GB)
    pairs_B = right_GB.sum(axis=0) * wrong_B
    return divide_or(pairs_B - lost_B, pairs_B, otherwise=np.nan)


def compute_average_precision(right_GB: Floats, wrong_GB: Floats) -> Floats:
    """Average precision: the precision at each step of recall."""
    found_GB = np.cumsum(right_GB, axis=0)
    said_GB = found_GB + np.cumsum(wrong_GB, axis=0)
    found_GB /= np.maximum(said_GB, 1.0)
    right_B = right_GB.sum(axis=0)
    area_B = np.einsum("gb,gb->b", right_GB, found_GB)
    # Where no row is wrong there is nothing to tell apart.
    return divide_or(area_B, np.where(wrong_GB.any(axis=0), right_B, 0.0), otherwise=np.nan)


auroc, average_precision = RankingMetric(compute_roc_area), RankingMetric(compute_average_precision)
