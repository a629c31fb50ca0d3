"""Checks: columns, types and settings that cannot be read are refused with a hint."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.series import (
    SeriesInput,
    check,
)
from models.features.series.channels import raw_steps
from tests.support.series_layouts import layout, list_layout

SCHEMA = {"shop": pl.String, "day": pl.Datetime(), "sales": pl.Float64, "price": pl.Float64}


@pytest.mark.parametrize(
    ("made", "types", "message"),
    [
        (layout(2), {"sales": pl.String}, "column 'sales' holds String, expected numbers"),
        (layout(2), {"sales": pl.List(pl.Int8)}, "holds a whole series in each row"),
        (layout(2), {"day": pl.String}, "source.time: column 'day' holds String"),
        (layout(2), {"day": pl.Time}, "source.time: column 'day' holds Time"),
        (layout(2, known_future=("price",)), {"price": pl.String}, "column 'price' holds String"),
        (layout(2, calendar=("month", "hour")), {"day": pl.Date}, "Date, which has no hour"),
        (layout(2, calendar=("month",)), {"day": pl.Int64}, "Int64, which has no month"),
        (layout(2, entity=None, scale_per="entity"), {}, "name it under source.entity"),
        (list_layout("sales"), {}, "holds one step a row: give the job a window"),
        (
            list_layout("sales", known_future=("price",)),
            {"sales": pl.List(pl.Int8), "price": pl.List(pl.Int8)},
            "known_future needs a table with one row a step",
        ),
        (
            list_layout("sales", time_delta=True),
            {"sales": pl.List(pl.Int8)},
            "time_delta needs a table with one row a step",
        ),
    ],
)
def test_a_table_that_cannot_be_read_as_asked_is_refused_with_the_mend(
    made: Layout, types: dict, message: str
) -> None:
    with pytest.raises(UnlearnableError, match=message):
        check(pl.Schema({**SCHEMA, **types}), made)


def test_what_needs_the_time_is_refused_without_one() -> None:
    read = SeriesInput(column="sales", calendar=("hour",))
    made = Layout(input=read, window=WindowConfig(lookback=2), time=None, entity=None)

    with pytest.raises(UnlearnableError, match="calendar needs the column that holds the time"):
        check(pl.Schema(SCHEMA), made)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Boolean, pl.Null, pl.Decimal(9, 2), pl.Float32])
def test_numbers_of_any_type_and_gaps_are_channels(dtype: pl.DataType) -> None:
    check(pl.Schema({**SCHEMA, "sales": dtype}), layout(2, calendar=("minute",), time_delta=True))

    frame = pl.DataFrame({"day": [date(2024, 1, 1)], "sales": pl.Series([None], dtype=dtype)})
    assert np.isnan(raw_steps(frame, layout(1, entity=None)).values_CN).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": ()}, "column: name at least one column"),
        ({"column": ("a", "a")}, "column: 'a' is named twice"),
        ({"column": "a", "known_future": ("a",)}, "known_future: 'a' is named twice"),
        ({"column": "a", "calendar": ("hour", "hour")}, "calendar: a part is named twice"),
        ({"column": "a", "impute_limit": 2}, "impute_limit: nothing looks back"),
        ({"column": "a", "impute": "last", "impute_limit": 0}, "impute_limit: 0 is no reach"),
        ({"column": "a", "time_delta": True, "frequency": "1h"}, "time_delta: with `frequency`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SeriesInput(**settings)
