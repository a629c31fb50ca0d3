"""Distances between two binned distributions, and their critical values.

All functions take counts per bin, with the same bins in the same order.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Counts = Sequence[int]

PSI_GROUPS = 10
"""Groups of bins that PSI compares; its customary limits assume about ten."""

_MIN_EXPECTED = 10
"""Values whose expected count on either side is lower are compared as one group."""


def compute_psi(reference: Counts, today: Counts) -> float:
    """Compute the population stability index: the sum of (q - p) ln(q / p) over the bins.

    Half a row is added to each bin (Krichevsky and Trofimov's estimate), so that an empty bin
    gives a finite term: p = (count + 1/2) / (total + bins / 2). Bins that are empty
    on both sides are left out. The index is Jeffreys' divergence (Kullback and Leibler, "On
    information and sufficiency", 1951); its limits of 0.1 and 0.25 are a custom of credit scoring
    (Siddiqi, "Credit risk scorecards", 2006).
    """
    before, after = _drop_empty_bins(reference, today)
    p = (before + 0.5) / (before.sum() + len(before) / 2)
    q = (after + 0.5) / (after.sum() + len(after) / 2)
    return float(((q - p) * np.log(q / p)).sum())


def compute_psi_critical(bins: int, totals: tuple[int, int], significance_level: float) -> float:
    """Compute the PSI that equal distributions exceed with the probability `significance_level`.

    Without a shift, PSI over B bins of n and m rows is about chi-square with B - 1 degrees of
    freedom times (1/n + 1/m): Yurdakul and Naranjo, "Statistical properties of the population
    stability index" (2020).
    """
    return compute_chi_square_critical(bins - 1, significance_level) * _compute_variance_factor(
        *totals
    )


def compute_jensen_shannon(reference: Counts, today: Counts) -> float:
    """Compute the Jensen-Shannon distance in base 2, from 0 (same) to 1 (nothing in common).

    The root of the divergence of Lin, "Divergence measures based on the Shannon entropy" (1991);
    Endres and Schindelin, "A new metric for probability distributions" (2003), show it a metric.
    """
    before, after = _drop_empty_bins(reference, today)
    p, q = before / before.sum(), after / after.sum()
    middle = (p + q) / 2
    divergence = (_compute_relative_entropy(p, middle) + _compute_relative_entropy(q, middle)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def compute_jensen_shannon_critical(
    bins: int, totals: tuple[int, int], significance_level: float
) -> float:
    """Compute the distance that equal distributions exceed with the given probability.

    Near equality the divergence is an eighth of chi-square's (in nats), as every f-divergence is
    a multiple of it: Csiszar and Shields, "Information theory and statistics" (2004).
    """
    nats = compute_psi_critical(bins, totals, significance_level) / 8
    return min(1.0, math.sqrt(nats / math.log(2)))


def compute_kolmogorov_smirnov(reference: Counts, today: Counts) -> float:
    """Compute the largest difference of the two cumulative shares, at the bins' edges.

    Within a bin the two may differ by more: the true statistic lies between this one and this one
    plus the larger of the two shares that one bin holds (about 0.01 where both fill a hundred bins
    equally, nothing where each number has a bin of its own).
    """
    before, after = np.asarray(reference, float), np.asarray(today, float)
    differences = np.abs(before.cumsum() / before.sum() - after.cumsum() / after.sum())
    # The last cumulative share is one on both sides, but for rounding.
    return float(differences[:-1].max(initial=0.0))


def compute_kolmogorov_p_value(statistic: float, totals: tuple[int, int]) -> float:
    """Compute the probability of so large a statistic without any shift.

    The limit for many rows, 2 sum (-1)^(k-1) exp(-2 k^2 x^2) with x = D sqrt(nm / (n + m)):
    Kolmogorov (1933), Smirnov (1948). A statistic taken at bins' edges is never too large, so
    this is never too small.
    """
    from scipy.special import kolmogorov

    return float(kolmogorov(statistic / math.sqrt(_compute_variance_factor(*totals))))


def compute_share_critical(
    counts: tuple[float, float], totals: tuple[int, int], significance_level: float
) -> float:
    """Compute the difference of two shares that equal distributions exceed with this probability.

    Normal approximation with the pooled share p: z * sqrt(p (1 - p) (1/n + 1/m)).
    """
    pooled = min(1.0, sum(counts) / sum(totals))
    # One more on each side: a share of 0 in few rows does not prove a probability of 0.
    pooled = max(pooled, 1 / (sum(totals) + 2))
    deviate = NormalDist().inv_cdf(1 - significance_level / 2)
    return deviate * math.sqrt(max(pooled * (1 - pooled), 0.0) * _compute_variance_factor(*totals))


def compute_chi_square_critical(freedom: int, above: float) -> float:
    """Compute the chi-square that is exceeded with this probability; 0 without any freedom."""
    from scipy.special import chdtri

    return float(chdtri(freedom, above)) if freedom > 0 else 0.0


def merge_bins(reference: Counts, today: Counts) -> tuple[list[int], list[int]]:
    """Merge neighbouring bins until each holds a tenth of the reference.

    Bins that are empty in the reference form one group, because values there are new today.
    """
    share = sum(reference) / PSI_GROUPS
    merged: list[tuple[int, int]] = []
    before = after = 0
    for old, new in zip(reference, today, strict=True):
        if not old:
            continue
        before, after = before + old, after + new
        if before >= share:
            merged.append((before, after))
            before = after = 0
    fresh = sum(new for old, new in zip(reference, today, strict=True) if not old)
    merged += [(before, after), (0, fresh)]
    return [old for old, _ in merged], [new for _, new in merged]


def merge_rare(reference: Counts, today: Counts) -> tuple[list[int], list[int]]:
    """Merge the values that are too rare for a comparison on their own.

    The last count is that of all unlisted values, and is merged with the rare ones.
    """
    needed = _MIN_EXPECTED * max(1.0, sum(reference) / max(1, sum(today)))
    pairs = list(zip(reference, today, strict=True))
    rare = [pairs[-1], *(pair for pair in pairs[:-1] if pair[0] < needed)]
    kept = [pair for pair in pairs[:-1] if pair[0] >= needed]
    kept.append((sum(old for old, _ in rare), sum(new for _, new in rare)))
    return [old for old, _ in kept], [new for _, new in kept]


def _drop_empty_bins(
    reference: Counts, today: Counts
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drop the bins that are empty on both sides."""
    before, after = np.asarray(reference, float), np.asarray(today, float)
    some = (before > 0) | (after > 0)
    return before[some], after[some]


def _compute_relative_entropy(p: NDArray[np.float64], middle: NDArray[np.float64]) -> float:
    """Compute the relative entropy (Kullback-Leibler divergence) in bits."""
    some = p > 0
    return float((p[some] * np.log2(p[some] / middle[some])).sum())


def _compute_variance_factor(n: float, m: float) -> float:
    """Return 1/n + 1/m: the variance of a difference of two means of unit variance."""
    return float(1 / n + 1 / m)
