"""Static covariates: categories and numbers with one value for each sequence.

A category becomes a code, 0 for a missing value and for every value that is rare or unknown in
training; a number is standardized by its training mean and standard deviation, and has a flag
that is 1 where it is missing.
Shapes: R rows, K categories, F channels of numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from models.errors import UnlearnableError
from models.features.steps import Floats

_UNKNOWN_CODE = 0

_MAX_VALUES = 100_000
"""Most different values of a category; a column with more of them is an identifier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryInput:
    """A categorical static covariate, such as a shop's type."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """Column with the category."""
    kind: Literal["category"] = "category"
    """`category`: one of several values."""
    min_frequency: int = 2
    """Training rows that a value needs for an embedding of its own; rarer values share that of
    unknown values, so that it is trained too."""

    def __post_init__(self) -> None:
        """Validate the frequency.

        Raises:
            ValueError: it is below 1.
        """
        if self.min_frequency < 1:
            raise ValueError(f"min_frequency: {self.min_frequency} is too small; give at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberInput:
    """A numeric static covariate, such as a shop's size."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """Column with the number."""
    kind: Literal["number"] = "number"
    """`number`: a real number."""


StaticInput = Annotated[CategoryInput | NumberInput, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticState:
    """What was fitted about the static covariates, in their order."""

    values: dict[str, tuple[str, ...]]
    """Values of each category by column; the first has code 1."""
    means: dict[str, float]
    stds: dict[str, float]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each category, with that of unknown values."""
        return tuple(len(values) + 1 for values in self.values.values())

    @property
    def channels(self) -> int:
        """Numbers of each sequence: each scaled value and its flag."""
        return 2 * len(self.means)


class StaticCovariates(NamedTuple):
    """The static covariates of the rows of a table."""

    codes_RK: NDArray[np.int32]
    numbers_RF: Floats

    def select(self, rows: NDArray[np.int64]) -> "StaticCovariates":
        """Return the covariates of these rows."""
        return StaticCovariates(self.codes_RK[rows], self.numbers_RF[rows])


def check_static_covariates(schema: pl.Schema, static_inputs: Iterable[StaticInput]) -> None:
    """Check that the columns contain categories and numbers.

    Raises:
        UnlearnableError: names the column and how to fix it.
    """
    for static in static_inputs:
        dtype = schema[static.column]
        plain = not dtype.is_nested() and dtype.base_type() not in {pl.Binary, pl.Duration}
        if static.kind == "number" and not (dtype.is_numeric() or dtype in {pl.Boolean, pl.Null}):
            raise UnlearnableError(
                f"inputs: column '{static.column}' holds {dtype}, expected numbers; "
                "read it with kind: category, or turn it into numbers upstream"
            )
        if static.kind == "category" and not plain:
            raise UnlearnableError(
                f"inputs: column '{static.column}' holds {dtype}, expected texts, whole "
                "numbers or booleans; turn it into one of them upstream"
            )


def fit_static_covariates(
    frames: Iterable[pl.DataFrame], static_inputs: tuple[StaticInput, ...]
) -> StaticState:
    """Fit codes, means and standard deviations on the training rows, in one pass.

    Raises:
        UnlearnableError: a number has no finite value, or a category too many values.
    """
    counts: dict[str, pl.DataFrame] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for frame in frames if static_inputs else ():
        for static in static_inputs:
            column = frame[static.column]
            if static.kind == "category":
                counts[static.column] = _add_counts(counts.get(static.column), column)
            else:
                sums[static.column] = _add_sums(sums.get(static.column), column)
    categories = {
        static.column: static for static in static_inputs if isinstance(static, CategoryInput)
    }
    means_and_stds = {name: _compute_mean_and_std(name, total) for name, total in sums.items()}
    return StaticState(
        values={
            name: tuple(
                table.filter(pl.col("count") >= categories[name].min_frequency)["value"]
                .sort()
                .to_list()
            )
            for name, table in counts.items()
        },
        means={name: mean for name, (mean, _) in means_and_stds.items()},
        stds={name: std for name, (_, std) in means_and_stds.items()},
    )


def transform_static_covariates(
    frame: pl.DataFrame, static_inputs: tuple[StaticInput, ...], state: StaticState
) -> StaticCovariates:
    """Return the codes and scaled numbers of the static covariates."""
    codes, numbers = [], []
    for static in static_inputs:
        column = frame[static.column]
        if static.kind == "category":
            values = state.values[static.column]
            coded = format_categories(column).replace_strict(
                values, range(1, len(values) + 1), default=_UNKNOWN_CODE, return_dtype=pl.Int32
            )
            codes.append(coded.fill_null(_UNKNOWN_CODE).to_numpy())
        else:
            raw = _read_floats(column)
            missing = ~np.isfinite(raw)
            scaled = (raw - state.means[static.column]) / state.stds[static.column]
            numbers += [np.where(missing, 0.0, np.clip(scaled, -1e6, 1e6)), missing]
    rows = len(frame)
    return StaticCovariates(
        np.stack(codes, axis=1) if codes else np.empty((rows, 0), np.int32),
        np.stack(numbers, axis=1).astype(np.float32)
        if numbers
        else np.empty((rows, 0), np.float32),
    )


def format_categories(column: pl.Series) -> pl.Series:
    """Return categories as text, equal whichever library wrote the column.

    Whole numbers give the same text as integers and as floats (which missing values turn them
    into), dates the same text as their midnights.
    """
    if column.dtype.is_float():
        # Number by number: the text of one row must not depend on other rows.
        whole = column.cast(pl.Int64, strict=False)
        is_whole = (column % 1 == 0) & whole.is_not_null()
        texts = whole.cast(pl.String).zip_with(
            is_whole.fill_null(value=False), column.cast(pl.String)
        )
        return pl.select(pl.when(column.is_nan()).then(None).otherwise(texts)).to_series()
    if column.dtype == pl.Date:
        # pandas has no dates, only the midnights at which they begin.
        column = column.cast(pl.Datetime("us"))
    elif isinstance(column.dtype, pl.Datetime):
        column = column.dt.cast_time_unit("us")
    return column.cast(pl.String)


def _add_counts(counts: pl.DataFrame | None, column: pl.Series) -> pl.DataFrame:
    """Return the counts so far with those of one column added.

    Raises:
        UnlearnableError: there are too many different values.
    """
    new_counts = format_categories(column).drop_nulls().rename("value").value_counts(name="count")
    all_counts = new_counts if counts is None else pl.concat([counts, new_counts])
    summed = all_counts.group_by("value").agg(pl.col("count").sum())
    if len(summed) > _MAX_VALUES:
        raise UnlearnableError(
            f"inputs: column '{column.name}' has more than {_MAX_VALUES} values in training; "
            "is it an identifier? Leave it out"
        )
    return summed


def _add_sums(sums: NDArray[np.float64] | None, column: pl.Series) -> NDArray[np.float64]:
    """Return [count, sum, sum of squares, origin] with one column added.

    Sums are around the origin, the mean of the first column with a value.
    """
    values = _read_floats(column)
    known = values[np.isfinite(values)]
    if sums is None:
        sums = np.array([0.0, 0.0, 0.0, np.nan])
    origin = sums[3] if np.isfinite(sums[3]) or not len(known) else known.mean()
    centered = known - origin
    more = [len(known), centered.sum(), (centered**2).sum()]
    return np.array([*(sums[:3] + more), origin])


def _compute_mean_and_std(name: str, sums: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation of sums; 1 for the latter where the number is constant.

    Raises:
        UnlearnableError: there is no finite value.
    """
    count, total, squares, origin = sums
    if count == 0:
        raise UnlearnableError(f"inputs: column '{name}' has no finite value in training")
    shift = total / count
    std = float(np.sqrt(max(squares / count - shift**2, 0.0)))
    mean = float(origin + shift)
    return mean, std if std > 1e-12 * abs(mean) else 1.0


def _read_floats(column: pl.Series) -> NDArray[np.float64]:
    """Return a column as float64, NaN where a value is missing."""
    return np.array(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), np.float64)
