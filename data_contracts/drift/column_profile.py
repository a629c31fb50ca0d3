"""Which kind of column is read how: as numbers, steps or values; planned first, then counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from data_contracts.drift.counters import (
    NumberCounter,
    ValueCounter,
    count_values,
    count_words,
    finite_of,
)
from data_contracts.drift.distribution import PARTS, Column, Kind, Numbers, Values
from data_contracts.drift.sketches import Floats, Frequent, Sample

MAX_VALUES = 200
"""Categories that are counted one by one."""

MAX_WORDS = 2000
"""Words that are counted one by one."""

MAX_CATEGORIES = 1000
"""Texts with more different values than this are text, not categories."""

MIN_TEXTS = 50
"""So are texts with more than this, when more than every second row has a new one."""

TICKS = {"ms": 1e3, "us": 1e6, "ns": 1e9}

DAY_SECONDS = 86_400.0


def kind_of(dtype: pl.DataType) -> Kind:
    """Say how a type is compared; texts may turn out to be categories."""
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        return "series" if isinstance(inner, pl.DataType) and inner.is_numeric() else "other"
    kinds: Mapping[type[pl.DataType], Kind] = {
        pl.Date: "moment",
        pl.Datetime: "moment",
        pl.Duration: "duration",
        pl.Time: "duration",
        pl.Boolean: "category",
        pl.Categorical: "category",
        pl.Enum: "category",
        pl.String: "text",
        pl.Binary: "bytes",
    }
    return kinds.get(type(dtype), "other")


def comparable(column: Column, dtype: pl.DataType) -> bool:
    """Say whether values of a type can be counted into a column of the reference.

    The contract watches exact types. Here, whole numbers may become fractions, days moments and
    texts categories, for their values still compare; a flag is no text.
    """
    kind = kind_of(dtype)
    if "Boolean" in {column.dtype, str(dtype)} or "other" in {column.kind, kind}:
        return column.dtype == str(dtype)
    texts = {"category", "text"}
    return kind == column.kind or {kind, column.kind} <= texts


def lighten(name: str, dtype: pl.DataType) -> pl.Expr:
    """Read a column as floats, texts, lists of floats, or the bare presence of its values."""
    kind = kind_of(dtype)
    values = pl.col(name)
    if kind in {"number", "bytes"}:
        return (values.bin.size() if kind == "bytes" else values).cast(pl.Float64)
    if kind in {"moment", "duration"}:
        return seconds(values, dtype)
    if kind == "series":
        lists = values.arr.to_list() if isinstance(dtype, pl.Array) else values
        return lists.cast(pl.List(pl.Float64))
    if kind == "other":
        return pl.when(values.is_not_null()).then(pl.lit(value=True)).alias(name)
    return values.cast(pl.String)


def seconds(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn moments and durations into seconds (since 1970, since midnight)."""
    ticks = values.to_physical().cast(pl.Float64)
    if dtype == pl.Date:
        return ticks * DAY_SECONDS
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime | pl.Duration) else "ns"
    return ticks / TICKS[unit]


def numbers_of(series: pl.Series) -> Floats:
    """Give numbers, lengths of texts or of lists to numpy, NaN for null."""
    if series.dtype == pl.String:
        series = series.str.len_chars()
    if series.dtype == pl.List:
        series = series.list.len()
    return series.cast(pl.Float64).to_numpy()


def steps_of(series: pl.Series) -> Floats:
    """Lay the elements of all lists in one row."""
    return series.explode(empty_as_null=False, keep_nulls=False).to_numpy()


@dataclass(slots=True)
class ColumnPlan:
    """The first pass over a column: where its edges lie, which of its values are frequent."""

    name: str
    dtype: pl.DataType
    filled: int = 0
    numbers: Sample = field(default_factory=Sample)
    steps: Sample = field(default_factory=Sample)
    values: Frequent = field(default_factory=Frequent)
    words: Frequent = field(default_factory=Frequent)

    def add(self, series: pl.Series) -> None:
        """Take in a batch as `lighten` reads it."""
        kind = kind_of(self.dtype)
        numbers, some_steps, values = PARTS[kind]
        self.filled += len(series) - series.null_count()
        if numbers:
            self.numbers.add(finite_of(numbers_of(series)))
        if some_steps:
            self.steps.add(finite_of(steps_of(series)))
        # Once there are too many for categories, it is their words alone that matter.
        if values and not (kind == "text" and self.values.distinct > MAX_CATEGORIES):
            self.values.add(count_values(series))
        if kind == "text":
            self.words.add(count_words(series))

    def column(self) -> Column:
        """Choose edges and values, nothing counted yet."""
        kind = self.kind()
        has_numbers, has_steps, has_values = PARTS[kind]
        frequent, size = (self.words, MAX_WORDS) if kind == "text" else (self.values, MAX_VALUES)
        return Column(
            name=self.name,
            dtype=str(self.dtype),
            kind=kind,
            rows=0,
            missing=0,
            numbers=NumberCounter(self.numbers.edges()).numbers() if has_numbers else None,
            steps=NumberCounter(self.steps.edges()).numbers() if has_steps else None,
            values=ValueCounter(frequent.top(size)).values() if has_values else None,
        )

    def kind(self) -> Kind:
        """Tell text from categories, by how many different values it has."""
        kind = kind_of(self.dtype)
        if kind != "text":
            return kind
        self.values.settle()
        distinct = self.values.distinct
        rarely_twice = distinct > MIN_TEXTS and 2 * distinct > self.filled
        return "text" if distinct > MAX_CATEGORIES or rarely_twice else "category"


@dataclass(slots=True)
class ColumnCounter:
    """The counting of a column into the bins and values of a reference."""

    reference: Column
    rows: int = 0
    missing: int = 0
    numbers: NumberCounter | None = field(init=False)
    steps: NumberCounter | None = field(init=False)
    values: ValueCounter | None = field(init=False)

    def __post_init__(self) -> None:
        """Start at zero."""
        self.numbers = start_numbers(self.reference.numbers)
        self.steps = start_numbers(self.reference.steps)
        self.values = start_values(self.reference.values)

    def add(self, series: pl.Series) -> None:
        """Take in a batch as `lighten` reads it."""
        self.rows += len(series)
        gaps = series.null_count()
        self.missing += gaps + (int(series.is_nan().sum()) if series.dtype == pl.Float64 else 0)
        if self.numbers:
            self.numbers.add(numbers_of(series))
        if self.steps:
            self.steps.add(steps_of(series))
        if self.values:
            self.values.add(
                (count_words if self.reference.kind == "text" else count_values)(series)
            )

    def column(self, dtype: str) -> Column:
        """Close the counts."""
        return Column(
            name=self.reference.name,
            dtype=dtype,
            kind=self.reference.kind,
            rows=self.rows,
            missing=self.missing,
            numbers=self.numbers.numbers() if self.numbers else None,
            steps=self.steps.numbers() if self.steps else None,
            values=self.values.values() if self.values else None,
        )


def start_numbers(reference: Numbers | None) -> NumberCounter | None:
    """Count into the same bins."""
    return None if reference is None else NumberCounter(reference.edges)


def start_values(reference: Values | None) -> ValueCounter | None:
    """Count the same values."""
    return None if reference is None else ValueCounter(reference.values)
