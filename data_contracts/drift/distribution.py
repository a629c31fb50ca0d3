"""Distributions as counts: numbers by bin, texts by value; and their parsing from JSON.

The records validate themselves, so every existing distribution is consistent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

ColumnKind = Literal[
    "number", "moment", "duration", "category", "text", "series", "bytes", "other", "absent"
]


class ProfileError(ValueError):
    """A profile is inconsistent, or its JSON is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberDistribution:
    """Counts of numbers by bin, with their statistics."""

    edges: tuple[float, ...]
    """Ascending. Bin i holds edges[i-1] <= x < edges[i]; the first and the last are open ended."""
    counts: tuple[int, ...]
    """Finite numbers per bin: one more than there are edges."""
    missing: int = 0
    """Null or NaN."""
    negative_infinities: int = 0
    positive_infinities: int = 0
    mean: float | None = None
    """Mean of the finite numbers; None, as the next three, if there are none."""
    std: float | None = None
    """Population standard deviation (divided by n)."""
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Check that the counts are consistent.

        Raises:
            ProfileError: which field.
        """
        if len(self.counts) != len(self.edges) + 1:
            raise ProfileError(f"counts: {len(self.counts)} bins for {len(self.edges)} edges")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ProfileError("edges: expected an ascending list")
        infinities = (self.negative_infinities, self.positive_infinities)
        if min(*self.counts, *infinities, self.missing) < 0:
            raise ProfileError("counts: a count below zero")
        statistics = (self.mean, self.std, self.min, self.max)
        if any((value is None) == (sum(self.counts) > 0) for value in statistics):
            raise ProfileError("mean, std, min and max: expected exactly when there are numbers")

    @property
    def total(self) -> int:
        """Number of values that are not missing."""
        return sum(self.counts) + self.negative_infinities + self.positive_infinities


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueDistribution:
    """Counts of the listed values, and of all others together."""

    values: tuple[str, ...]
    counts: tuple[int, ...]
    others: int
    """Occurrences of values that are not listed."""
    distinct: int
    """Number of distinct values, unlisted ones included; a lower bound if they are very many."""
    examples: tuple[str, ...] = ()
    """The most frequent values that are not listed."""

    def __post_init__(self) -> None:
        """Check that the counts are consistent.

        Raises:
            ProfileError: which field.
        """
        if len(self.counts) != len(self.values):
            raise ProfileError(f"counts: {len(self.counts)} counts, {len(self.values)} values")
        if len(set(self.values)) != len(self.values):
            raise ProfileError("values: a value is listed twice")
        if min(*self.counts, self.others, self.distinct, 0) < 0:
            raise ProfileError("counts: a count below zero")

    @property
    def total(self) -> int:
        """Occurrences of all values."""
        return sum(self.counts) + self.others


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnProfile:
    """Distributions of one column."""

    name: str
    dtype: str
    """As Polars writes it; empty if the column is absent."""
    kind: ColumnKind
    """A column whose type cannot be compared with the reference's is absent too."""
    rows: int
    missing: int
    """Rows with null or NaN."""
    numbers: NumberDistribution | None = None
    """Numbers themselves; times and durations in seconds; lengths of texts in characters, of lists
    in steps; sizes of bytes."""
    steps: NumberDistribution | None = None
    """Elements of the lists of a series."""
    values: ValueDistribution | None = None
    """Categories, or the words of a text."""

    def __post_init__(self) -> None:
        """Check that the counts are consistent.

        Raises:
            ProfileError: which field.
        """
        if not 0 <= self.missing <= self.rows:
            raise ProfileError(f"missing: {self.missing} of {self.rows} rows")
        has = (self.numbers is not None, self.steps is not None, self.values is not None)
        if has != DISTRIBUTIONS_BY_KIND[self.kind]:
            raise ProfileError(f"kind: {self.kind} comes with other distributions")
        counted = self.numbers or (self.values if self.kind == "category" else None)
        if counted and counted.total != self.rows - self.missing:
            raise ProfileError(f"rows: {self.rows - self.missing} filled, {counted.total} counted")


DISTRIBUTIONS_BY_KIND: dict[str, tuple[bool, bool, bool]] = {
    "number": (True, False, False),
    "moment": (True, False, False),
    "duration": (True, False, False),
    "category": (False, False, True),
    "text": (True, False, True),
    "series": (True, True, False),
    "bytes": (True, False, False),
    "other": (False, False, False),
    "absent": (False, False, False),
}
"""Whether a column of each kind has numbers, steps and values."""


def parse_record(kind: type[Record], raw: object, where: str) -> Record:
    """Build a dataclass, with the nested ones, from parsed JSON.

    Raises:
        ProfileError: the JSON does not fit; the message gives the place.
    """
    if not isinstance(raw, Mapping):
        raise ProfileError(f"{where}: expected an object, found {shorten_repr(raw)}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if wrong := sorted(set(names) ^ set(raw)):
        state = "missing" if wrong[0] in names else "unknown"
        raise ProfileError(f"{where}: {state} key '{wrong[0]}'")
    found = {name: _parse_value(hints[name], raw[name], f"{where}.{name}") for name in names}
    try:
        return kind(**found)
    except ProfileError as error:
        raise ProfileError(f"{where}.{error}") from error


def shorten_repr(raw: object) -> str:
    """Return the first 60 characters of a value's repr."""
    return repr(raw)[:60]


def _parse_value(kind: Any, raw: object, where: str) -> Any:  # noqa: ANN401 - a type, and one of it
    """Parse one value as the type of its field."""
    if isinstance(kind, UnionType):
        return None if raw is None else _parse_value(get_args(kind)[0], raw, where)
    if get_origin(kind) is tuple and isinstance(raw, list):
        item = get_args(kind)[0]
        return tuple(
            _parse_value(item, entry, f"{where}[{index}]") for index, entry in enumerate(raw)
        )
    if get_origin(kind) is Literal and raw in get_args(kind):
        return raw
    if is_dataclass(kind) and isinstance(kind, type):
        return parse_record(kind, raw, where)
    if kind is float and type(raw) in {int, float} and math.isfinite(raw):  # type: ignore[arg-type]
        return float(raw)  # type: ignore[arg-type]
    if kind in {int, str} and type(raw) is kind:
        return raw
    wanted = {float: "a number", int: "a whole number", str: "a text"}.get(kind, str(kind))
    raise ProfileError(f"{where}: expected {wanted}, found {shorten_repr(raw)}")
