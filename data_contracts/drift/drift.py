"""Drift: how today's columns differ from those that a champion was trained on.

A shift counts only if it is both large enough to matter (the limits) and larger than chance alone
explains with that number of rows. For numbers, one of two tests has to be significant: that of the
population stability index (PSI), which sees changes of any shape, or Kolmogorov-Smirnov's, which
sees a common direction in a few rows. Rows count as independent, all steps of one list as a single
row.

PSI compares tenths of the reference; changes within a tenth show in the Jensen-Shannon distance
over all bins, which is reported but sets no severity.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from data_contracts.drift.distance import compute_share_critical
from data_contracts.drift.distribution import (
    ColumnProfile,
    NumberDistribution,
    ProfileError,
    ValueDistribution,
)
from data_contracts.drift.profile import Profile
from data_contracts.drift.shift import (
    Shift,
    ValueChanges,
    measure_number_shift,
    measure_value_changes,
    measure_value_shift,
)

DriftSeverity = Literal["none", "small", "large"]

_MEASURED_AS = {
    "text": "mean length in characters",
    "series": "mean length in steps",
    "bytes": "mean size in bytes",
}

SEVERITIES: tuple[DriftSeverity, ...] = ("none", "small", "large")

_MAX_LISTED = 3
"""Values that a reason lists at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftConfig:
    """Limits from which a shift is small or large, and the significance level of its tests."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    psi_small: float = 0.1
    """Population stability index of numbers, categories, lengths and steps from which a shift is
    small."""
    psi_large: float = 0.25
    """The same for a large shift."""
    missing_share_small: float = 0.05
    """Change of the share of missing rows from which a shift is small."""
    missing_share_large: float = 0.2
    """The same for a large shift."""
    unlisted_share_small: float = 0.02
    """Share of values or words that the reference does not list, less the share expected of further
    rows like its own, from which a shift is small; for categories also the share of those that have
    vanished."""
    unlisted_share_large: float = 0.1
    """The same for a large shift."""
    vocabulary_distance_small: float = 0.15
    """Jensen-Shannon distance of the word frequencies from which a shift is small."""
    vocabulary_distance_large: float = 0.25
    """The same for a large shift."""
    significance_level: float = 0.0001
    """Probability of a false alarm in one test, without any shift; small, because there are a few
    tests for each column, every day."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: the limit out of range.
        """
        for name in ("psi", "missing_share", "unlisted_share", "vocabulary_distance"):
            small, large = getattr(self, f"{name}_small"), getattr(self, f"{name}_large")
            if not 0 < small <= large:
                raise ValueError(
                    f"{name}_small and {name}_large must be positive and ascending,"
                    f" got {small} and {large}"
                )
            if name != "psi" and large > 1:
                raise ValueError(f"{name}_large must be at most 1, got {large}")
        if not 0 < self.significance_level < 0.5:
            raise ValueError(
                f"significance_level must be between 0 and 0.5, got {self.significance_level}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnDrift:
    """Drift of one column."""

    column: str
    kind: str
    severity: DriftSeverity
    reason: str
    """Text for people: the figures that set the severity."""
    missing_before: float
    """Share of the rows."""
    missing_today: float
    numbers: Shift | None = None
    """Shift of numbers, times, durations; of lengths and sizes."""
    steps: Shift | None = None
    """Shift of the elements of lists."""
    values: Shift | None = None
    """Shift of categories or words."""
    value_changes: ValueChanges | None = None
    """New and vanished categories or words."""


class _Indicator(NamedTuple):
    """The severity of one figure, with its text."""

    severity: DriftSeverity
    message: str


def compare_profiles(reference: Profile, today: Profile, limits: DriftConfig) -> list[ColumnDrift]:
    """Compare each reference column with today's, which is counted into the reference's bins.

    Raises:
        ProfileError: today's profile was not measured against this reference.
    """
    found = {column.name: column for column in today.columns}
    return [_compare_column(column, found.get(column.name), limits) for column in reference.columns]


def _compare_column(
    before: ColumnProfile, today: ColumnProfile | None, limits: DriftConfig
) -> ColumnDrift:
    """Compare one column.

    Raises:
        ProfileError: today's column was not measured against this reference.
    """
    found = ColumnDrift(
        column=before.name,
        kind=before.kind,
        severity="none",
        reason="",
        missing_before=before.missing / max(1, before.rows),
        missing_today=today.missing / max(1, today.rows) if today else 0.0,
    )
    if today is None or not (before.rows and today.rows) or "absent" in {before.kind, today.kind}:
        return _summarize_indicators(found, [_explain_incomparable(before, today)])
    _check_same_bins(before, today)
    totals = (before.rows - before.missing, today.rows - today.missing)
    alarm = limits.significance_level
    found = replace(
        found,
        numbers=measure_number_shift(
            before.numbers, today.numbers, totals=totals, significance_level=alarm
        ),
        steps=measure_number_shift(
            before.steps, today.steps, totals=totals, significance_level=alarm
        ),
        values=measure_value_shift(before.values, today.values, significance_level=alarm),
        value_changes=measure_value_changes(before.values, today.values, significance_level=alarm),
    )
    return _summarize_indicators(found, list(_evaluate_indicators(found, before, today, limits)))


def _summarize_indicators(found: ColumnDrift, indicators: list[_Indicator]) -> ColumnDrift:
    """Set the highest severity, and join the texts of all that count; if none does, the first."""
    severity = SEVERITIES[max((SEVERITIES.index(each.severity) for each in indicators), default=0)]
    messages = [each.message for each in indicators if each.severity != "none"]
    messages = messages or [each.message for each in indicators][:1]
    messages = messages or ["only missing rows can be compared"]
    return replace(found, severity=severity, reason="; ".join(messages))


def _explain_incomparable(before: ColumnProfile, today: ColumnProfile | None) -> _Indicator:
    """Build the indicator of a column that cannot be compared."""
    if not before.rows or before.kind == "absent":
        return _Indicator("none", "the reference has no rows to compare with")
    if today is None:
        return _Indicator("large", "the column was not measured today")
    if not today.rows:
        return _Indicator("none", "there are no rows today to compare")
    if not today.dtype:
        return _Indicator("large", "the column is absent today")
    return _Indicator("large", f"the type of the column is {today.dtype}, was {before.dtype}")


def _check_same_bins(before: ColumnProfile, today: ColumnProfile) -> None:
    """Check that both columns were counted into the same bins.

    Raises:
        ProfileError: today's column was not measured against this reference.
    """
    pairs = ((before.numbers, today.numbers), (before.steps, today.steps))
    same = before.kind == today.kind and all(
        (old and old.edges) == (new and new.edges) for old, new in pairs
    )
    listed = [column.values and column.values.values for column in (before, today)]
    if not same or listed[0] != listed[1]:
        raise ProfileError(f"'{before.name}' was not measured against this reference")


def _evaluate_indicators(
    found: ColumnDrift, before: ColumnProfile, today: ColumnProfile, limits: DriftConfig
) -> Iterator[_Indicator]:
    """Yield an indicator for each figure of a column."""
    psi = (limits.psi_small, limits.psi_large)
    for shift, old, new, what in (
        (found.numbers, before.numbers, today.numbers, _MEASURED_AS.get(before.kind, "mean")),
        (found.steps, before.steps, today.steps, "mean of the elements"),
    ):
        if shift and old and new:
            text = f"{what} {_format_mean_change(old, new, before.kind)}, PSI {shift.psi:.2f}"
            # PSI detects changes of any shape, Kolmogorov-Smirnov a common direction in few rows.
            significant = shift.p_value is not None and shift.p_value < limits.significance_level
            critical = 0.0 if significant else shift.psi_critical
            yield _classify_shift(shift.psi, psi, critical=critical, text=text)
    if found.values and before.values and today.values:
        most = _format_largest_change(before.values, today.values)
        if before.kind == "text":
            figure, critical = found.values.jensen_shannon, found.values.jensen_shannon_critical
            text, between = (
                f"distance of the word frequencies {figure:.2f}: {most}",
                (limits.vocabulary_distance_small, limits.vocabulary_distance_large),
            )
        else:
            figure, critical = found.values.psi, found.values.psi_critical
            text, between = f"{most}, PSI {figure:.2f}", psi
        yield _classify_shift(figure, between, critical=critical, text=text)
    yield from _evaluate_value_changes(found, limits)
    yield _evaluate_missing(before, today, limits)


def _classify_shift(
    figure: float, between: tuple[float, float], *, critical: float, text: str
) -> _Indicator:
    """Classify a figure by its limits (small, large); none if it is not above `critical`."""
    small, large = between
    if figure < small:
        return _Indicator("none", text)
    if figure <= critical:
        return _Indicator("none", f"{text} (not significant: up to {critical:.2g} by chance)")
    return _Indicator("large" if figure >= large else "small", text)


def _evaluate_value_changes(found: ColumnDrift, limits: DriftConfig) -> Iterator[_Indicator]:
    """Yield indicators for new values and for vanished categories."""
    if not found.value_changes:
        return
    changes = found.value_changes
    between = (limits.unlisted_share_small, limits.unlisted_share_large)
    text = f"{changes.unlisted_share:.1%} unknown, {changes.expected_share:.1%} expected"
    if changes.new_values:
        text += f", such as {_format_values(changes.new_values)}"
    excess = changes.unlisted_share - changes.expected_share
    yield _classify_shift(excess, between, critical=changes.critical_excess, text=text)
    if found.kind == "category":
        vanished = _format_values(changes.vanished_values)
        text = f"vanished: {vanished}, {changes.vanished_share:.1%} before"
        yield _classify_shift(changes.vanished_share, between, critical=0.0, text=text)


def _evaluate_missing(
    before: ColumnProfile, today: ColumnProfile, limits: DriftConfig
) -> _Indicator:
    """Build the indicator of the change of the share of missing rows."""
    old, new = before.missing / before.rows, today.missing / today.rows
    critical = compute_share_critical(
        (before.missing, today.missing), (before.rows, today.rows), limits.significance_level
    )
    between = (limits.missing_share_small, limits.missing_share_large)
    text = f"missing {old:.1%} -> {new:.1%}"
    return _classify_shift(abs(new - old), between, critical=critical, text=text)


def _format_mean_change(before: NumberDistribution, today: NumberDistribution, kind: str) -> str:
    """Format two means as `before -> today`."""
    return f"{_format_number(before.mean, kind)} -> {_format_number(today.mean, kind)}"


def _format_number(number: float | None, kind: str) -> str:
    """Format a number, a time as date and time, a duration with its unit."""
    if number is None:
        return "none"
    if kind == "moment":
        return str(np.datetime64(round(number), "s"))
    return f"{number:.4g} s" if kind == "duration" else f"{number:.4g}"


def _format_largest_change(before: ValueDistribution, today: ValueDistribution) -> str:
    """Format the value whose share has changed most, with its shares before and today."""
    rows = [*zip(before.values, before.counts, today.counts, strict=True)]
    rows.append(("all others", before.others, today.others))
    shares = [(value, old / before.total, new / today.total) for value, old, new in rows]
    value, old, new = max(shares, key=lambda row: abs(row[1] - row[2]))
    return f"{value!r} {old:.1%} -> {new:.1%}"


def _format_values(values: tuple[str, ...]) -> str:
    """Format the first values as a list."""
    return ", ".join(repr(value) for value in values[:_MAX_LISTED])
