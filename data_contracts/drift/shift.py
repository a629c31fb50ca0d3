"""Measure shifts: distances between today's counts and the reference's, with critical values."""

from dataclasses import dataclass

from data_contracts.drift.distance import (
    compute_jensen_shannon,
    compute_jensen_shannon_critical,
    compute_kolmogorov_p_value,
    compute_kolmogorov_smirnov,
    compute_psi,
    compute_psi_critical,
    compute_share_critical,
    merge_bins,
    merge_rare,
)
from data_contracts.drift.distribution import NumberDistribution, ValueDistribution


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """Distances between two distributions, with their critical values."""

    psi: float
    """Population stability index: of numbers over tenths of the reference; of values with those
    that are rare today taken together."""
    psi_critical: float
    """Critical value of PSI: exceeded without any shift only at the significance level."""
    jensen_shannon: float
    """Distance in base 2, from 0 to 1: of numbers over all bins; of values as PSI."""
    jensen_shannon_critical: float
    kolmogorov_smirnov: float | None = None
    """Of numbers; at the bins' edges."""
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueChanges:
    """New and vanished values or words."""

    unlisted_share: float
    """Share of today's values or words that the reference does not list."""
    expected_share: float
    """The same share expected of further rows like the reference's: its unlisted values, and one
    for each value seen only once (Good, "The population frequencies of species", 1953)."""
    critical_excess: float
    """Critical value of the difference of the two shares, at the significance level."""
    new_values: tuple[str, ...]
    """The most frequent new values; empty if the reference lists only a part of its own."""
    vanished_values: tuple[str, ...]
    """Listed values that are significantly absent today."""
    vanished_share: float
    """Their share of the reference's values or words."""


def measure_number_shift(
    before: NumberDistribution | None,
    today: NumberDistribution | None,
    *,
    totals: tuple[int, int],
    significance_level: float,
) -> Shift | None:
    """Compare two distributions of numbers; None if one of them is empty.

    Args:
        before: the reference.
        today: counted in the same bins.
        totals: numbers of independent rows (elements of one list are not independent).
        significance_level: probability of a false alarm, from 0 to 0.5.
    """
    if not (before and today and before.total and today.total):
        return None
    old, new = _list_counts(before), _list_counts(today)
    merged = merge_bins(old, new)
    statistic = compute_kolmogorov_smirnov(old, new)
    return Shift(
        psi=compute_psi(*merged),
        psi_critical=compute_psi_critical(_count_filled_bins(*merged), totals, significance_level),
        jensen_shannon=compute_jensen_shannon(old, new),
        jensen_shannon_critical=compute_jensen_shannon_critical(
            _count_filled_bins(old, new), totals, significance_level
        ),
        kolmogorov_smirnov=statistic,
        p_value=compute_kolmogorov_p_value(statistic, totals),
    )


def measure_value_shift(
    before: ValueDistribution | None, today: ValueDistribution | None, *, significance_level: float
) -> Shift | None:
    """Compare two distributions of values or words; None if one of them is empty."""
    if not (before and today and before.total and today.total):
        return None
    old, new = merge_rare((*before.counts, before.others), (*today.counts, today.others))
    bins, totals = _count_filled_bins(old, new), (before.total, today.total)
    return Shift(
        psi=compute_psi(old, new),
        psi_critical=compute_psi_critical(bins, totals, significance_level),
        jensen_shannon=compute_jensen_shannon(old, new),
        jensen_shannon_critical=compute_jensen_shannon_critical(bins, totals, significance_level),
    )


def measure_value_changes(
    before: ValueDistribution | None, today: ValueDistribution | None, *, significance_level: float
) -> ValueChanges | None:
    """Measure new and vanished values; None if one of the distributions is empty."""
    if not (before and today and before.total and today.total):
        return None
    unseen = before.others + sum(count == 1 for count in before.counts)
    totals = (before.total, today.total)
    # Each of k occurrences falls on the reference's side with this probability. The level is
    # divided by the number of values (Bonferroni).
    before_share, rarely = totals[0] / sum(totals), significance_level / max(1, len(before.values))
    vanished = [
        (value, old)
        for value, old, new in zip(before.values, before.counts, today.counts, strict=True)
        if not new and before_share**old < rarely
    ]
    return ValueChanges(
        unlisted_share=today.others / today.total,
        expected_share=unseen / before.total,
        critical_excess=compute_share_critical((unseen, today.others), totals, significance_level),
        new_values=() if before.others else today.examples,
        vanished_values=tuple(value for value, _ in vanished),
        vanished_share=sum(old for _, old in vanished) / before.total,
    )


def _list_counts(numbers: NumberDistribution) -> tuple[int, ...]:
    """List the counts by bin, with the infinities as the outer bins."""
    return (numbers.negative_infinities, *numbers.counts, numbers.positive_infinities)


def _count_filled_bins(
    before: list[int] | tuple[int, ...], today: list[int] | tuple[int, ...]
) -> int:
    """Count the bins that are filled on at least one side."""
    return sum(old > 0 or new > 0 for old, new in zip(before, today, strict=True))
