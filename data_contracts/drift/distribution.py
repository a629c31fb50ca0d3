"""Distributions as counts: numbers in bins, texts by value; and their reading from JSON.

Records check themselves, so a distribution that exists is one that adds up.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

Kind = Literal[
    "number", "moment", "duration", "category", "text", "series", "bytes", "other", "absent"
]


class ProfileError(ValueError):
    """A profile does not add up, or its text is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """How numbers are spread over bins."""

    edges: tuple[float, ...]
    """Ascending. Bin i holds edges[i-1] <= x < edges[i]; the first and the last are open ended."""
    counts: tuple[int, ...]
    """Finite numbers per bin: one more than there are edges."""
    missing: int = 0
    """Null or NaN."""
    negative_infinities: int = 0
    positive_infinities: int = 0
    mean: float | None = None
    """Of the finite numbers, as the following three; None when there are none."""
    std: float | None = None
    """Over all of them (no degree of freedom is taken off)."""
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not add up.

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
        moments = (self.mean, self.std, self.min, self.max)
        if any((moment is None) == (sum(self.counts) > 0) for moment in moments):
            raise ProfileError("mean, std, min and max: expected exactly when there are numbers")

    @property
    def total(self) -> int:
        """Count the numbers that are not missing."""
        return sum(self.counts) + self.negative_infinities + self.positive_infinities


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """How often each of the listed values occurs, and how often any other."""

    values: tuple[str, ...]
    counts: tuple[int, ...]
    others: int
    """Occurrences of values that are not listed."""
    distinct: int
    """Different values, those not listed included; a lower bound where they are very many."""
    examples: tuple[str, ...] = ()
    """The most frequent values that are not listed."""

    def __post_init__(self) -> None:
        """Refuse what does not add up.

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
        """Count the occurrences of all values."""
        return sum(self.counts) + self.others


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """What one column looks like."""

    name: str
    dtype: str
    """As Polars writes it; empty when the column is absent."""
    kind: Kind
    """Absent is also a column that has come with a type that cannot be compared."""
    rows: int
    missing: int
    """Rows with null or NaN."""
    numbers: Numbers | None = None
    """Numbers themselves, moments and durations in seconds, length of a text in characters or of a
    list in steps, size of bytes."""
    steps: Numbers | None = None
    """Elements of the lists of a series."""
    values: Values | None = None
    """Categories, or the words of a text."""

    def __post_init__(self) -> None:
        """Refuse what does not add up.

        Raises:
            ProfileError: which field.
        """
        if not 0 <= self.missing <= self.rows:
            raise ProfileError(f"missing: {self.missing} of {self.rows} rows")
        has = (self.numbers is not None, self.steps is not None, self.values is not None)
        if has != PARTS[self.kind]:
            raise ProfileError(f"kind: {self.kind} comes with other distributions")
        counted = self.numbers or (self.values if self.kind == "category" else None)
        if counted and counted.total != self.rows - self.missing:
            raise ProfileError(f"rows: {self.rows - self.missing} filled, {counted.total} counted")


PARTS: dict[str, tuple[bool, bool, bool]] = {
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
"""Which of numbers, steps and values a column of each kind has."""


def read_record(kind: type[Record], raw: object, where: str) -> Record:
    """Build a record, and those in it, from parsed JSON.

    Raises:
        ProfileError: what is wrong, and where in the text.
    """
    if not isinstance(raw, Mapping):
        raise ProfileError(f"{where}: expected an object, found {brief(raw)}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if wrong := sorted(set(names) ^ set(raw)):
        state = "missing" if wrong[0] in names else "unknown"
        raise ProfileError(f"{where}: {state} key '{wrong[0]}'")
    found = {name: read_value(hints[name], raw[name], f"{where}.{name}") for name in names}
    try:
        return kind(**found)
    except ProfileError as error:
        raise ProfileError(f"{where}.{error}") from error


def read_value(kind: Any, raw: object, where: str) -> Any:  # noqa: ANN401 - a type, and one of it
    """Read one value of a record as the type that its field has."""
    if isinstance(kind, UnionType):
        return None if raw is None else read_value(get_args(kind)[0], raw, where)
    if get_origin(kind) is tuple and isinstance(raw, list):
        item = get_args(kind)[0]
        return tuple(
            read_value(item, entry, f"{where}[{index}]") for index, entry in enumerate(raw)
        )
    if get_origin(kind) is Literal and raw in get_args(kind):
        return raw
    if is_dataclass(kind) and isinstance(kind, type):
        return read_record(kind, raw, where)
    if kind is float and type(raw) in {int, float} and math.isfinite(raw):  # type: ignore[arg-type]
        return float(raw)  # type: ignore[arg-type]
    if kind in {int, str} and type(raw) is kind:
        return raw
    wanted = {float: "a number", int: "a whole number", str: "a text"}.get(kind, str(kind))
    raise ProfileError(f"{where}: expected {wanted}, found {brief(raw)}")


def brief(raw: object) -> str:
    """Show the beginning of a value."""
    return repr(raw)[:60]
