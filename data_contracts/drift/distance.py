"""How far two counted distributions are apart, and how far chance alone would put them.

All functions take counts per bin, the same bins in the same order.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Counts = Sequence[int]

GROUPS = 10
"""Groups of bins that PSI compares; its customary limits are made for about so many."""

MIN_EXPECTED = 10
"""Values that either side should hold less often than this are compared together."""


def psi(reference: Counts, today: Counts) -> float:
    """Give the population stability index: the sum of (q - p) ln(q / p) over the bins.

    Half a row is added to each bin (Krichevsky and Trofimov's estimate), so that an empty bin
    counts for what its emptiness tells: p = (count + 1/2) / (total + bins / 2). Bins that are empty
    on both sides are left out. The index is Jeffreys' divergence (Kullback and Leibler, "On
    information and sufficiency", 1951); its limits of 0.1 and 0.25 are a custom of credit scoring
    (Siddiqi, "Credit risk scorecards", 2006).
    """
    before, after = filled(reference, today)
    p = (before + 0.5) / (before.sum() + len(before) / 2)
    q = (after + 0.5) / (after.sum() + len(after) / 2)
    return float(((q - p) * np.log(q / p)).sum())


def psi_by_chance(bins: int, totals: tuple[int, int], alarm_share: float) -> float:
    """PSI that so small a share of same distributions exceeds, for so few rows.

    Without a shift, PSI over B bins of n and m rows is about chi-square with B - 1 degrees of
    freedom times (1/n + 1/m): Yurdakul and Naranjo, "Statistical properties of the population
    stability index" (2020).
    """
    return chi_square(bins - 1, alarm_share) * spread(*totals)


def jensen_shannon(reference: Counts, today: Counts) -> float:
    """Jensen-Shannon distance in base 2, from 0 (same) to 1 (nothing in common).

    The root of the divergence of Lin, "Divergence measures based on the Shannon entropy" (1991);
    Endres and Schindelin, "A new metric for probability distributions" (2003), show it a metric.
    """
    before, after = filled(reference, today)
    p, q = before / before.sum(), after / after.sum()
    middle = (p + q) / 2
    divergence = (entropy_to(p, middle) + entropy_to(q, middle)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def jensen_shannon_by_chance(bins: int, totals: tuple[int, int], alarm_share: float) -> float:
    """Distance that so small a share of same distributions exceeds, for so few rows.

    Near equality the divergence is an eighth of chi-square's (in nats), as every f-divergence is
    a multiple of it: Csiszar and Shields, "Information theory and statistics" (2004).
    """
    nats = psi_by_chance(bins, totals, alarm_share) / 8
    return min(1.0, math.sqrt(nats / math.log(2)))


def kolmogorov_smirnov(reference: Counts, today: Counts) -> float:
    """Largest difference of the two cumulative shares, at the bins' edges.

    Within a bin the two may differ by more: the true statistic lies between this one and this one
    plus the larger of the two shares that one bin holds (about 0.01 where both fill a hundred bins
    equally, nothing where each number has a bin of its own).
    """
    before, after = np.asarray(reference, float), np.asarray(today, float)
    apart = np.abs(before.cumsum() / before.sum() - after.cumsum() / after.sum())
    # The last cumulative share is one on both sides, whatever rounding says.
    return float(apart[:-1].max(initial=0.0))


def kolmogorov_p(statistic: float, totals: tuple[int, int]) -> float:
    """Probability of so large a statistic without any shift.

    The limit for many rows, 2 sum (-1)^(k-1) exp(-2 k^2 x^2) with x = D sqrt(nm / (n + m)):
    Kolmogorov (1933), Smirnov (1948). A statistic taken at bins' edges is never too large, so
    this is never too small.
    """
    from scipy.special import kolmogorov

    return float(kolmogorov(statistic / math.sqrt(spread(*totals))))


def share_by_chance(counts: tuple[float, float], totals: tuple[int, int], alarm: float) -> float:
    """Difference of two shares that so small a share of same distributions exceeds."""
    pooled = min(1.0, sum(counts) / sum(totals))
    # One more on each side: a share of nothing in few rows is no proof of never.
    pooled = max(pooled, 1 / (sum(totals) + 2))
    deviate = NormalDist().inv_cdf(1 - alarm / 2)
    return deviate * math.sqrt(max(pooled * (1 - pooled), 0.0) * spread(*totals))


def chi_square(freedom: int, above: float) -> float:
    """Chi-square that is exceeded with this probability; nothing without a degree of freedom."""
    from scipy.special import chdtri

    return float(chdtri(freedom, above)) if freedom > 0 else 0.0


def merge_bins(reference: Counts, today: Counts) -> tuple[list[int], list[int]]:
    """Merge neighbouring bins until each holds a tenth of the reference.

    Bins that are empty in the reference make one group, for what lands there is new.
    """
    share = sum(reference) / GROUPS
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
    """Compare together the values of which either side's rows should hold too few to tell.

    The last count is that of all values that are not listed, and goes with the rare ones.
    """
    needed = MIN_EXPECTED * max(1.0, sum(reference) / max(1, sum(today)))
    pairs = list(zip(reference, today, strict=True))
    rare = [pairs[-1], *(pair for pair in pairs[:-1] if pair[0] < needed)]
    kept = [pair for pair in pairs[:-1] if pair[0] >= needed]
    kept.append((sum(old for old, _ in rare), sum(new for _, new in rare)))
    return [old for old, _ in kept], [new for _, new in kept]


def filled(reference: Counts, today: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out the bins that are empty on both sides."""
    before, after = np.asarray(reference, float), np.asarray(today, float)
    some = (before > 0) | (after > 0)
    return before[some], after[some]


def entropy_to(p: NDArray[np.float64], middle: NDArray[np.float64]) -> float:
    """Relative entropy in bits."""
    some = p > 0
    return float((p[some] * np.log2(p[some] / middle[some])).sum())


def spread(n: float, m: float) -> float:
    """Variance that two samples' difference has for each unit of their own."""
    return float(1 / n + 1 / m)
