"""Static covariates: a value has one category in any library, type or table."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from models.errors import UnlearnableError
from models.features.static_covariates import (
    CategoryInput,
    NumberInput,
    check_static_covariates,
    fit_static_covariates,
    transform_static_covariates,
)

DAYS = [date(2020, 1, 1), date(2020, 1, 2)]
TIMES = [datetime(2020, 1, 1, 3, tzinfo=UTC), datetime(2020, 1, 1, 4, 0, 0, 5, tzinfo=UTC)]


def codes(fitted: pl.Series, values: pl.Series) -> list[int]:
    sides = (CategoryInput(column="c", min_frequency=1),)
    state = fit_static_covariates([fitted.alias("c").to_frame()], sides)
    result = transform_static_covariates(values.alias("c").to_frame(), sides, state)
    return result.codes_RK[:, 0].tolist()


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(DAYS),
        pl.Series(TIMES).dt.replace_time_zone(None),
        pl.Series(TIMES).dt.replace_time_zone(None).dt.cast_time_unit("ms"),
        pl.Series([True, False]),
        pl.Series([3, 4]),
        pl.Series([0.5, 4.0]),
        pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"])),
    ],
)
def test_a_category_from_pandas_has_the_same_code(column: pl.Series) -> None:
    through = pl.from_pandas(column.alias("c").to_frame().to_pandas())["c"]

    assert codes(column, through) == [1, 2] or codes(column, through) == [2, 1]
    assert codes(column, through) == codes(column, column)


def test_the_category_of_a_number_does_not_depend_on_other_rows() -> None:
    fitted = pl.Series([0.5, 3.0, None, float("nan"), float("inf"), 1e300])

    category_codes = codes(fitted, fitted)

    assert category_codes == [
        code for row in fitted for code in codes(fitted, pl.Series([row], dtype=pl.Float64))
    ]
    assert category_codes[2:4] == [0, 0]
    assert codes(fitted, pl.Series([3])) == [category_codes[1]]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (pl.Binary, CategoryInput),
        (pl.Duration("us"), CategoryInput),
        (pl.List(pl.Int64), CategoryInput),
        (pl.String, NumberInput),
        (pl.Date, NumberInput),
    ],
)
def test_columns_that_are_neither_categories_nor_numbers_are_rejected_by_name(dtype, kind) -> None:
    with pytest.raises(UnlearnableError, match=r"column 'c' holds .* upstream"):
        check_static_covariates(pl.Schema({"c": dtype}), [kind(column="c")])


def test_missing_numbers_have_an_indicator_and_the_mean() -> None:
    sides = (NumberInput(column="c"),)
    state = fit_static_covariates([pl.DataFrame({"c": [1.0, 3.0, None]})], sides)

    result = transform_static_covariates(
        pl.DataFrame({"c": [None, float("nan"), 3.0, 1e300]}), sides, state
    )

    np.testing.assert_array_equal(result.numbers_RF, [[0, 1], [0, 1], [1, 0], [1e6, 0]])
