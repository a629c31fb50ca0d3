"""Drift: how today's columns differ from those that a champion was trained on.

A shift is called only if it is both large enough to matter (the limits) and larger than so few rows
show by chance: of numbers by either of two tests, PSI's, which sees changes of any shape, or
Kolmogorov and Smirnov's, which sees a common direction in a few rows. Rows count as independent,
the steps of one list as a single row.

PSI compares tenths of the reference, so what moves within a tenth is left to the Jensen-Shannon
distance over all bins, which is told but not judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from data_contracts.drift.distance import share_by_chance
from data_contracts.drift.distribution import Column, Numbers, ProfileError, Values
from data_contracts.drift.profile import Profile
from data_contracts.drift.shift import Newcomers, Shift, newcomers, shift_numbers, shift_values

Verdict = Literal["none", "small", "large"]

MEASURED = {
    "text": "mean length in characters",
    "series": "mean length in steps",
    "bytes": "mean size in bytes",
}

ORDER: tuple[Verdict, ...] = ("none", "small", "large")

NAMED = 3
"""Values that a reason names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftConfig:
    """From where on a shift is called small or large."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    psi_small: float = 0.1
    """Population stability index of numbers, categories, lengths and steps, from which on a shift
    is called small."""
    psi_large: float = 0.25
    """And large."""
    missing_small: float = 0.05
    """Change of the share of missing rows, from which on it is called small."""
    missing_large: float = 0.2
    """And large."""
    unknown_small: float = 0.02
    """Share of values or words that the reference does not list, beyond what further rows like its
    own would bring, from which on it is called small; for categories also the share of those that
    have vanished."""
    unknown_large: float = 0.1
    """And large."""
    words_small: float = 0.15
    """Jensen-Shannon distance of the vocabularies, from which on a shift is called small."""
    words_large: float = 0.25
    """And large."""
    alarm_share: float = 0.0001
    """Share of figures without any shift behind them that may still be taken for one: there are a
    few for each column, every day."""

    def __post_init__(self) -> None:
        """Refuse limits out of range.

        Raises:
            ValueError: which limit, and its range.
        """
        for name in ("psi", "missing", "unknown", "words"):
            small, large = getattr(self, f"{name}_small"), getattr(self, f"{name}_large")
            if not 0 < small <= large:
                raise ValueError(
                    f"{name}_small and {name}_large must be positive and ascending,"
                    f" got {small} and {large}"
                )
            if name != "psi" and large > 1:
                raise ValueError(f"{name}_large must be at most 1, got {large}")
        if not 0 < self.alarm_share < 0.5:
            raise ValueError(f"alarm_share must be between 0 and 0.5, got {self.alarm_share}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnDrift:
    """What became of one column."""

    column: str
    kind: str
    verdict: Verdict
    reason: str
    """In words."""
    missing_before: float
    """Share of the rows."""
    missing_today: float
    numbers: Shift | None = None
    """Of numbers, moments, durations; of lengths and sizes."""
    steps: Shift | None = None
    """Of the elements of lists."""
    values: Shift | None = None
    """Of categories or words."""
    newcomers: Newcomers | None = None
    """Categories or words that came or went."""


class Sign(NamedTuple):
    """One figure and what it says."""

    verdict: Verdict
    words: str


def drift(reference: Profile, today: Profile, limits: DriftConfig) -> list[ColumnDrift]:
    """Compare today's columns, measured against the reference, with the reference's."""
    found = {column.name: column for column in today.columns}
    return [compare(column, found.get(column.name), limits) for column in reference.columns]


def compare(before: Column, today: Column | None, limits: DriftConfig) -> ColumnDrift:
    """Compare one column.

    Raises:
        ProfileError: today's column was not measured against this reference.
    """
    found = ColumnDrift(
        column=before.name,
        kind=before.kind,
        verdict="none",
        reason="",
        missing_before=before.missing / max(1, before.rows),
        missing_today=today.missing / max(1, today.rows) if today else 0.0,
    )
    if today is None or not (before.rows and today.rows) or "absent" in {before.kind, today.kind}:
        return conclude(found, [incomparable(before, today)])
    refuse_other_bins(before, today)
    totals = (before.rows - before.missing, today.rows - today.missing)
    alarm = limits.alarm_share
    found = replace(
        found,
        numbers=shift_numbers(before.numbers, today.numbers, totals=totals, alarm_share=alarm),
        steps=shift_numbers(before.steps, today.steps, totals=totals, alarm_share=alarm),
        values=shift_values(before.values, today.values, alarm_share=alarm),
        newcomers=newcomers(before.values, today.values, alarm_share=alarm),
    )
    return conclude(found, list(signs(found, before, today, limits)))


def conclude(found: ColumnDrift, told: list[Sign]) -> ColumnDrift:
    """Take the gravest sign, and the words of all that are called; of none, the first's."""
    verdict = ORDER[max((ORDER.index(sign.verdict) for sign in told), default=0)]
    words = [sign.words for sign in told if sign.verdict != "none"]
    words = words or [sign.words for sign in told][:1] or ["nothing to compare but missing rows"]
    return replace(found, verdict=verdict, reason="; ".join(words))


def incomparable(before: Column, today: Column | None) -> Sign:
    """Say why there is nothing to compare."""
    if not before.rows or before.kind == "absent":
        return Sign("none", "the reference has no rows to compare with")
    if today is None:
        return Sign("large", "the column was not measured today")
    if not today.rows:
        return Sign("none", "there are no rows today to compare")
    if not today.dtype:
        return Sign("large", "the column is absent today")
    return Sign("large", f"the column has come as {today.dtype}, was {before.dtype}")


def refuse_other_bins(before: Column, today: Column) -> None:
    """Refuse counts that were taken in other bins.

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


def signs(found: ColumnDrift, before: Column, today: Column, limits: DriftConfig) -> Iterator[Sign]:
    """Judge the figures one by one."""
    psi = (limits.psi_small, limits.psi_large)
    for shift, old, new, what in (
        (found.numbers, before.numbers, today.numbers, MEASURED.get(before.kind, "mean")),
        (found.steps, before.steps, today.steps, "mean of the elements"),
    ):
        if shift and old and new:
            words = f"{what} {moved(old, new, before.kind)}, PSI {shift.psi:.2f}"
            # The one test sees many small steps, the other one a common direction in few rows.
            sure = shift.p_value is not None and shift.p_value < limits.alarm_share
            chance = 0.0 if sure else shift.psi_by_chance
            yield judge(shift.psi, psi, chance=chance, words=words)
    if found.values and before.values and today.values:
        most = mover(before.values, today.values)
        if before.kind == "text":
            figure, chance = found.values.jensen_shannon, found.values.jensen_shannon_by_chance
            words, between = (
                f"words {figure:.2f} apart: {most}",
                (limits.words_small, limits.words_large),
            )
        else:
            figure, chance = found.values.psi, found.values.psi_by_chance
            words, between = f"{most}, PSI {figure:.2f}", psi
        yield judge(figure, between, chance=chance, words=words)
    yield from signs_of_newcomers(found, limits)
    yield sign_of_missing(before, today, limits)


def judge(figure: float, between: tuple[float, float], *, chance: float, words: str) -> Sign:
    """Call a shift that is over its limits and beyond chance."""
    small, large = between
    if figure < small:
        return Sign("none", words)
    if figure <= chance:
        return Sign("none", f"{words} (so few rows reach {chance:.2g} by chance)")
    return Sign("large" if figure >= large else "small", words)


def signs_of_newcomers(found: ColumnDrift, limits: DriftConfig) -> Iterator[Sign]:
    """Judge values that came, and categories that went."""
    if not found.newcomers:
        return
    came, between = found.newcomers, (limits.unknown_small, limits.unknown_large)
    words = f"{came.share:.1%} unknown, {came.expected:.1%} expected"
    if came.new:
        words += f", such as {name(came.new)}"
    yield judge(came.share - came.expected, between, chance=came.by_chance, words=words)
    if found.kind == "category":
        words = f"vanished: {name(came.vanished)}, {came.vanished_share:.1%} before"
        yield judge(came.vanished_share, between, chance=0.0, words=words)


def sign_of_missing(before: Column, today: Column, limits: DriftConfig) -> Sign:
    """Judge the share of missing rows."""
    old, new = before.missing / before.rows, today.missing / today.rows
    chance = share_by_chance(
        (before.missing, today.missing), (before.rows, today.rows), limits.alarm_share
    )
    between = (limits.missing_small, limits.missing_large)
    words = f"missing {old:.1%} -> {new:.1%}"
    return judge(abs(new - old), between, chance=chance, words=words)


def moved(before: Numbers, today: Numbers, kind: str) -> str:
    """Show two means."""
    return f"{show(before.mean, kind)} -> {show(today.mean, kind)}"


def show(number: float | None, kind: str) -> str:
    """Show a number, a moment as its date and time, a duration with its unit."""
    if number is None:
        return "none"
    if kind == "moment":
        return str(np.datetime64(round(number), "s"))
    return f"{number:.4g} s" if kind == "duration" else f"{number:.4g}"


def mover(before: Values, today: Values) -> str:
    """Name the value whose share has changed most, and how."""
    rows = [*zip(before.values, before.counts, today.counts, strict=True)]
    rows.append(("all others", before.others, today.others))
    shares = [(value, old / before.total, new / today.total) for value, old, new in rows]
    value, old, new = max(shares, key=lambda row: abs(row[1] - row[2]))
    return f"{value!r} {old:.1%} -> {new:.1%}"


def name(values: tuple[str, ...]) -> str:
    """Name the first few values."""
    return ", ".join(repr(value) for value in values[:NAMED])
