"""Profile one column by its kind, as numbers, steps or values: first plan its bins, then count."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from data_contracts.drift.counters import (
    NumberCounter,
    ValueCounter,
    count_values,
    count_words,
    drop_non_finite,
)
from data_contracts.drift.distribution import (
    DISTRIBUTIONS_BY_KIND,
    ColumnKind,
    ColumnProfile,
    NumberDistribution,
    ValueDistribution,
)
from data_contracts.drift.sketches import FloatArray, FrequentValues, UniformSample

_MAX_VALUES = 200
"""Categories that are counted one by one."""

_MAX_WORDS = 2000
"""Words that are counted one by one."""

_MAX_CATEGORIES = 1000
"""A string column with more distinct values than this is text, not categories."""

_MIN_TEXTS = 50
"""So is one with more than this, if more than every second row has a distinct value."""

_TICKS_PER_SECOND = {"ms": 1e3, "us": 1e6, "ns": 1e9}

_DAY_SECONDS = 86_400.0


def is_comparable(column: ColumnProfile, dtype: pl.DataType) -> bool:
    """Return whether values of a type can be counted into a column of the reference.

    Exact types are the contract's matter. Here, integers may become floats, dates datetimes and
    texts categories, because their values still compare; a Boolean never compares with a text.
    """
    kind = _classify_dtype(dtype)
    if "Boolean" in {column.dtype, str(dtype)} or "other" in {column.kind, kind}:
        return column.dtype == str(dtype)
    texts = {"category", "text"}
    return kind == column.kind or {kind, column.kind} <= texts


def convert_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """Convert a column to floats, texts, lists of floats, or true where a value is present."""
    kind = _classify_dtype(dtype)
    values = pl.col(name)
    if kind in {"number", "bytes"}:
        return (values.bin.size() if kind == "bytes" else values).cast(pl.Float64)
    if kind in {"moment", "duration"}:
        return _convert_to_seconds(values, dtype)
    if kind == "series":
        lists = values.arr.to_list() if isinstance(dtype, pl.Array) else values
        return lists.cast(pl.List(pl.Float64))
    if kind == "other":
        return pl.when(values.is_not_null()).then(pl.lit(value=True)).alias(name)
    return values.cast(pl.String)


@dataclass(slots=True)
class ColumnPlanner:
    """The first pass over a column: it chooses bin edges and the values to count."""

    name: str
    dtype: pl.DataType
    filled: int = 0
    numbers: UniformSample = field(default_factory=UniformSample)
    steps: UniformSample = field(default_factory=UniformSample)
    values: FrequentValues = field(default_factory=FrequentValues)
    words: FrequentValues = field(default_factory=FrequentValues)

    def add(self, series: pl.Series) -> None:
        """Add a batch that `convert_column` has converted."""
        kind = _classify_dtype(self.dtype)
        numbers, some_steps, values = DISTRIBUTIONS_BY_KIND[kind]
        self.filled += len(series) - series.null_count()
        if numbers:
            self.numbers.add(drop_non_finite(_extract_numbers(series)))
        if some_steps:
            self.steps.add(drop_non_finite(_flatten_steps(series)))
        # With too many values for categories, only the words matter.
        if values and not (kind == "text" and self.values.distinct > _MAX_CATEGORIES):
            self.values.add(count_values(series))
        if kind == "text":
            self.words.add(count_words(series))

    def build_empty_profile(self) -> ColumnProfile:
        """Build the profile with its edges and values, and zero counts."""
        kind = self._classify_column()
        has_numbers, has_steps, has_values = DISTRIBUTIONS_BY_KIND[kind]
        frequent, size = (self.words, _MAX_WORDS) if kind == "text" else (self.values, _MAX_VALUES)
        return ColumnProfile(
            name=self.name,
            dtype=str(self.dtype),
            kind=kind,
            rows=0,
            missing=0,
            numbers=NumberCounter(self.numbers.compute_edges()).build_distribution()
            if has_numbers
            else None,
            steps=NumberCounter(self.steps.compute_edges()).build_distribution()
            if has_steps
            else None,
            values=ValueCounter(frequent.list_top(size)).build_distribution()
            if has_values
            else None,
        )

    def _classify_column(self) -> ColumnKind:
        """Return the kind of the column; a string column is text or categories by its values."""
        kind = _classify_dtype(self.dtype)
        if kind != "text":
            return kind
        self.values.merge_pending()
        distinct = self.values.distinct
        rarely_twice = distinct > _MIN_TEXTS and 2 * distinct > self.filled
        return "text" if distinct > _MAX_CATEGORIES or rarely_twice else "category"


@dataclass(slots=True)
class ColumnCounter:
    """The second pass: it counts a column into the bins and values of a reference."""

    reference: ColumnProfile
    rows: int = 0
    missing: int = 0
    numbers: NumberCounter | None = field(init=False)
    steps: NumberCounter | None = field(init=False)
    values: ValueCounter | None = field(init=False)

    def __post_init__(self) -> None:
        """Start at zero."""
        self.numbers = _start_number_counter(self.reference.numbers)
        self.steps = _start_number_counter(self.reference.steps)
        self.values = _start_value_counter(self.reference.values)

    def add(self, series: pl.Series) -> None:
        """Add a batch that `convert_column` has converted."""
        self.rows += len(series)
        gaps = series.null_count()
        self.missing += gaps + (int(series.is_nan().sum()) if series.dtype == pl.Float64 else 0)
        if self.numbers:
            self.numbers.add(_extract_numbers(series))
        if self.steps:
            self.steps.add(_flatten_steps(series))
        if self.values:
            self.values.add(
                (count_words if self.reference.kind == "text" else count_values)(series)
            )

    def build_profile(self, dtype: str) -> ColumnProfile:
        """Build the profile of the counts."""
        return ColumnProfile(
            name=self.reference.name,
            dtype=dtype,
            kind=self.reference.kind,
            rows=self.rows,
            missing=self.missing,
            numbers=self.numbers.build_distribution() if self.numbers else None,
            steps=self.steps.build_distribution() if self.steps else None,
            values=self.values.build_distribution() if self.values else None,
        )


def _classify_dtype(dtype: pl.DataType) -> ColumnKind:
    """Return the kind of a type; a string column may turn out to be categories later."""
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        return "series" if isinstance(inner, pl.DataType) and inner.is_numeric() else "other"
    kinds: Mapping[type[pl.DataType], ColumnKind] = {
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


def _convert_to_seconds(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Convert times and durations to seconds (since 1970, since midnight)."""
    ticks = values.to_physical().cast(pl.Float64)
    if dtype == pl.Date:
        return ticks * _DAY_SECONDS
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime | pl.Duration) else "ns"
    return ticks / _TICKS_PER_SECOND[unit]


def _extract_numbers(series: pl.Series) -> FloatArray:
    """Return numbers, or lengths of texts or lists, as a NumPy array with NaN for null."""
    if series.dtype == pl.String:
        series = series.str.len_chars()
    if series.dtype == pl.List:
        series = series.list.len()
    return series.cast(pl.Float64).to_numpy()


def _flatten_steps(series: pl.Series) -> FloatArray:
    """Concatenate the elements of all lists."""
    return series.explode(empty_as_null=False, keep_nulls=False).to_numpy()


def _start_number_counter(reference: NumberDistribution | None) -> NumberCounter | None:
    """Start a counter with the bins of the reference."""
    return None if reference is None else NumberCounter(reference.edges)


def _start_value_counter(reference: ValueDistribution | None) -> ValueCounter | None:
    """Start a counter of the values of the reference."""
    return None if reference is None else ValueCounter(reference.values)
