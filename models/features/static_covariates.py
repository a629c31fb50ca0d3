"""Static inputs: categories and numbers that stand beside a sequence, one value each.

A category becomes a code, 0 for a gap and for every value that training never showed; a number
is scaled by its training mean and spread, with a flag that tells gaps.
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

UNKNOWN = 0

MAX_VALUES = 100_000
"""Values of a category that are counted; a column with more of them is an identifier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryInput:
    """A category beside the sequence, such as a shop's type."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """The column that holds it."""
    kind: Literal["category"] = "category"
    """`category`: one of several values, beside the sequence."""
    min_frequency: int = 2
    """Training rows that a value needs to have a place of its own; rarer ones share the place of
    those that training never showed, so that this place is learned too."""

    def __post_init__(self) -> None:
        """Refuse counts that count nothing."""
        if self.min_frequency < 1:
            raise ValueError(f"min_frequency: {self.min_frequency} is too small; give at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberInput:
    """A number beside the sequence, such as a shop's size."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """The column that holds it."""
    kind: Literal["number"] = "number"
    """`number`: a real number, beside the sequence."""


StaticInput = Annotated[CategoryInput | NumberInput, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticState:
    """What training fitted about the side inputs, in their order."""

    values: dict[str, tuple[str, ...]]
    """Values of each category; the first has code 1."""
    means: dict[str, float]
    stds: dict[str, float]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes of each category, the unknown's included."""
        return tuple(len(values) + 1 for values in self.values.values())

    @property
    def channels(self) -> int:
        """Numbers beside each sequence: each with its flag."""
        return 2 * len(self.means)


class StaticCovariates(NamedTuple):
    """The side inputs of a table's rows."""

    codes_RK: NDArray[np.int32]
    numbers_RF: Floats

    def select(self, rows: NDArray[np.int64]) -> "StaticCovariates":
        """Take these rows."""
        return StaticCovariates(self.codes_RK[rows], self.numbers_RF[rows])


def as_text(column: pl.Series) -> pl.Series:
    """Read a category as text, in the same words whichever library held it.

    Whole numbers read alike whether or not gaps made fractions of them, days like their midnights.
    """
    if column.dtype.is_float():
        # Each number for itself: what a row is called depends on no other row.
        whole = column.cast(pl.Int64, strict=False)
        plain = (column % 1 == 0) & whole.is_not_null()
        texts = whole.cast(pl.String).zip_with(plain.fill_null(value=False), column.cast(pl.String))
        return pl.select(pl.when(column.is_nan()).then(None).otherwise(texts)).to_series()
    if column.dtype == pl.Date:
        # pandas knows no dates, only the midnights at which they begin.
        column = column.cast(pl.Datetime("us"))
    elif isinstance(column.dtype, pl.Datetime):
        column = column.dt.cast_time_unit("us")
    return column.cast(pl.String)


def check_static_covariates(schema: pl.Schema, statics: Iterable[StaticInput]) -> None:
    """Refuse columns that are no categories or numbers.

    Raises:
        UnlearnableError: names the column and the mend.
    """
    for side in statics:
        dtype = schema[side.column]
        plain = not dtype.is_nested() and dtype.base_type() not in {pl.Binary, pl.Duration}
        if side.kind == "number" and not (dtype.is_numeric() or dtype in {pl.Boolean, pl.Null}):
            raise UnlearnableError(
                f"inputs: column '{side.column}' holds {dtype}, expected numbers; "
                "read it with kind: category, or turn it into numbers upstream"
            )
        if side.kind == "category" and not plain:
            raise UnlearnableError(
                f"inputs: column '{side.column}' holds {dtype}, expected texts, whole numbers or "
                "booleans; turn it into one of them upstream"
            )


def fit_static_covariates(
    frames: Iterable[pl.DataFrame], statics: tuple[StaticInput, ...]
) -> StaticState:
    """Fit on the training rows, in one pass.

    Raises:
        UnlearnableError: a number has no finite value, or a category too many values.
    """
    counts: dict[str, pl.DataFrame] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for frame in frames if statics else ():
        for side in statics:
            column = frame[side.column]
            if side.kind == "category":
                counts[side.column] = add_counts(counts.get(side.column), column)
            else:
                sums[side.column] = add_sums(sums.get(side.column), column)
    known = {side.column: side for side in statics if isinstance(side, CategoryInput)}
    moments = {name: compute_mean_and_std(name, held) for name, held in sums.items()}
    return StaticState(
        values={
            name: tuple(
                held.filter(pl.col("count") >= known[name].min_frequency)["value"].sort().to_list()
            )
            for name, held in counts.items()
        },
        means={name: mean for name, (mean, _) in moments.items()},
        stds={name: spread for name, (_, spread) in moments.items()},
    )


def add_counts(held: pl.DataFrame | None, column: pl.Series) -> pl.DataFrame:
    """Add the values of one frame to the counts so far."""
    here = as_text(column).drop_nulls().rename("value").value_counts(name="count")
    both = here if held is None else pl.concat([held, here])
    counted = both.group_by("value").agg(pl.col("count").sum())
    if len(counted) > MAX_VALUES:
        raise UnlearnableError(
            f"inputs: column '{column.name}' has more than {MAX_VALUES} values in training; "
            "is it an identifier? Leave it out"
        )
    return counted


def add_sums(held: NDArray[np.float64] | None, column: pl.Series) -> NDArray[np.float64]:
    """Add one frame to [count, sum, sum of squares], around the first frame's mean."""
    numbers = finite(column)
    known = numbers[np.isfinite(numbers)]
    if held is None:
        held = np.array([0.0, 0.0, 0.0, np.nan])
    origin = held[3] if np.isfinite(held[3]) or not len(known) else known.mean()
    centred = known - origin
    more = [len(known), centred.sum(), (centred**2).sum()]
    return np.array([*(held[:3] + more), origin])


def compute_mean_and_std(name: str, held: NDArray[np.float64]) -> tuple[float, float]:
    """Turn sums into mean and spread.

    Raises:
        UnlearnableError: there was no finite value.
    """
    count, total, squares, origin = held
    if count == 0:
        raise UnlearnableError(f"inputs: column '{name}' has no finite value in training")
    shift = total / count
    spread = float(np.sqrt(max(squares / count - shift**2, 0.0)))
    mean = float(origin + shift)
    return mean, spread if spread > 1e-12 * abs(mean) else 1.0


def finite(column: pl.Series) -> NDArray[np.float64]:
    """Read numbers, NaN where there is none."""
    return np.array(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), np.float64)


def transform_static_covariates(
    frame: pl.DataFrame, statics: tuple[StaticInput, ...], state: StaticState
) -> StaticCovariates:
    """Turn the side inputs into codes and scaled numbers."""
    codes, numbers = [], []
    for side in statics:
        column = frame[side.column]
        if side.kind == "category":
            values = state.values[side.column]
            coded = as_text(column).replace_strict(
                values, range(1, len(values) + 1), default=UNKNOWN, return_dtype=pl.Int32
            )
            codes.append(coded.fill_null(UNKNOWN).to_numpy())
        else:
            raw = finite(column)
            missing = ~np.isfinite(raw)
            scaled = (raw - state.means[side.column]) / state.stds[side.column]
            numbers += [np.where(missing, 0.0, np.clip(scaled, -1e6, 1e6)), missing]
    rows = len(frame)
    return StaticCovariates(
        np.stack(codes, axis=1) if codes else np.empty((rows, 0), np.int32),
        np.stack(numbers, axis=1).astype(np.float32)
        if numbers
        else np.empty((rows, 0), np.float32),
    )
