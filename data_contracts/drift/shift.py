"""Figures of a shift: how far counts of today are from the reference's."""

from dataclasses import dataclass

from data_contracts.drift.distance import (
    jensen_shannon,
    jensen_shannon_by_chance,
    kolmogorov_p,
    kolmogorov_smirnov,
    merge_bins,
    merge_rare,
    psi,
    psi_by_chance,
    share_by_chance,
)
from data_contracts.drift.distribution import Numbers, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """How far two distributions are apart."""

    psi: float
    """Population stability index: of numbers over tenths of the reference; of values with those
    that are rare today taken together."""
    psi_by_chance: float
    """What so few rows reach without any shift, rarely."""
    jensen_shannon: float
    """Distance in base 2, from 0 to 1: of numbers over all bins; of values as PSI."""
    jensen_shannon_by_chance: float
    kolmogorov_smirnov: float | None = None
    """Of numbers; at the bins' edges."""
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Newcomers:
    """Values or words that came, and those that went."""

    share: float
    """Of today's values or words that the reference does not list."""
    expected: float
    """The same of further rows like the reference's: those that it does not list, and one for each
    that it has seen but once (Good, "The population frequencies of species", 1953)."""
    by_chance: float
    """By how much so few rows exceed it, rarely."""
    new: tuple[str, ...]
    """The most frequent that the reference did not have; empty where it lists but a part."""
    vanished: tuple[str, ...]
    """Listed values of which today has none, and not by chance."""
    vanished_share: float
    """Of the reference's values or words."""


def shift_numbers(
    before: Numbers | None,
    today: Numbers | None,
    *,
    totals: tuple[int, int],
    alarm_share: float,
) -> Shift | None:
    """Compare two distributions of numbers, None where one of them is empty.

    Args:
        before: the reference.
        today: counted in the same bins.
        totals: independent rows on both sides; elements of one list are not.
        alarm_share: how rarely chance may be taken for a shift.
    """
    if not (before and today and before.total and today.total):
        return None
    old, new = line(before), line(today)
    merged = merge_bins(old, new)
    statistic = kolmogorov_smirnov(old, new)
    return Shift(
        psi=psi(*merged),
        psi_by_chance=psi_by_chance(filled_bins(*merged), totals, alarm_share),
        jensen_shannon=jensen_shannon(old, new),
        jensen_shannon_by_chance=jensen_shannon_by_chance(
            filled_bins(old, new), totals, alarm_share
        ),
        kolmogorov_smirnov=statistic,
        p_value=kolmogorov_p(statistic, totals),
    )


def shift_values(
    before: Values | None, today: Values | None, *, alarm_share: float
) -> Shift | None:
    """Compare two distributions of values or words, None where one of them is empty."""
    if not (before and today and before.total and today.total):
        return None
    old, new = merge_rare((*before.counts, before.others), (*today.counts, today.others))
    bins, totals = filled_bins(old, new), (before.total, today.total)
    return Shift(
        psi=psi(old, new),
        psi_by_chance=psi_by_chance(bins, totals, alarm_share),
        jensen_shannon=jensen_shannon(old, new),
        jensen_shannon_by_chance=jensen_shannon_by_chance(bins, totals, alarm_share),
    )


def newcomers(
    before: Values | None, today: Values | None, *, alarm_share: float
) -> Newcomers | None:
    """Count what is new and what has vanished, None where one side is empty."""
    if not (before and today and before.total and today.total):
        return None
    unseen = before.others + sum(count == 1 for count in before.counts)
    totals = (before.total, today.total)
    # All of k occurrences fall on the reference's side with this probability each; for so many.
    before_share, rarely = totals[0] / sum(totals), alarm_share / max(1, len(before.values))
    gone = [
        (value, old)
        for value, old, new in zip(before.values, before.counts, today.counts, strict=True)
        if not new and before_share**old < rarely
    ]
    return Newcomers(
        share=today.others / today.total,
        expected=unseen / before.total,
        by_chance=share_by_chance((unseen, today.others), totals, alarm_share),
        new=() if before.others else today.examples,
        vanished=tuple(value for value, _ in gone),
        vanished_share=sum(old for _, old in gone) / before.total,
    )


def line(numbers: Numbers) -> tuple[int, ...]:
    """Put the infinities at the ends of the bins."""
    return (numbers.negative_infinities, *numbers.counts, numbers.positive_infinities)


def filled_bins(before: list[int] | tuple[int, ...], today: list[int] | tuple[int, ...]) -> int:
    """Count the bins that are not empty on both sides."""
    return sum(old > 0 or new > 0 for old, new in zip(before, today, strict=True))
