"""Checks: unreadable columns, types and settings are refused with a hint."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.series import (
    SeriesInput,
    check_series,
)
from models.features.series.channels import read_raw_steps
from tests.support.series_layouts import build_list_layout, build_window_layout

SCHEMA = {"shop": pl.String, "day": pl.Datetime(), "sales": pl.Float64, "price": pl.Float64}


@pytest.mark.parametrize(
    ("layout", "types", "message"),
    [
        (
            build_window_layout(2),
            {"sales": pl.String},
            "column 'sales' holds String, expected numbers",
        ),
        (build_window_layout(2), {"sales": pl.List(pl.Int8)}, "holds a whole series in each row"),
        (build_window_layout(2), {"day": pl.String}, "source.time: column 'day' holds String"),
        (build_window_layout(2), {"day": pl.Time}, "source.time: column 'day' holds Time"),
        (
            build_window_layout(2, known_future=("price",)),
            {"price": pl.String},
            "column 'price' holds String",
        ),
        (
            build_window_layout(2, calendar=("month", "hour")),
            {"day": pl.Date},
            "Date, which has no hour",
        ),
        (
            build_window_layout(2, calendar=("month",)),
            {"day": pl.Int64},
            "Int64, which has no month",
        ),
        (
            build_window_layout(2, entity=None, scale_per="entity"),
            {},
            "name it under source.entity",
        ),
        (build_list_layout("sales"), {}, "holds one step per row: give the job a window"),
        (
            build_list_layout("sales", known_future=("price",)),
            {"sales": pl.List(pl.Int8), "price": pl.List(pl.Int8)},
            "known_future needs a table with one row per step",
        ),
        (
            build_list_layout("sales", time_delta=True),
            {"sales": pl.List(pl.Int8)},
            "time_delta needs a table with one row per step",
        ),
    ],
)
def test_the_error_for_an_unreadable_table_has_a_hint(
    layout: Layout, types: dict, message: str
) -> None:
    with pytest.raises(UnlearnableError, match=message):
        check_series(pl.Schema({**SCHEMA, **types}), layout)


def test_options_that_need_a_time_column_are_rejected_without_one() -> None:
    read = SeriesInput(column="sales", calendar=("hour",))
    layout = Layout(input=read, window=WindowConfig(lookback=2), time=None, entity=None)

    with pytest.raises(UnlearnableError, match="calendar needs the column with the time"):
        check_series(pl.Schema(SCHEMA), layout)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Boolean, pl.Null, pl.Decimal(9, 2), pl.Float32])
def test_numbers_of_any_type_with_missing_values_are_channels(dtype: pl.DataType) -> None:
    check_series(
        pl.Schema({**SCHEMA, "sales": dtype}),
        build_window_layout(2, calendar=("minute",), time_delta=True),
    )

    frame = pl.DataFrame({"day": [date(2024, 1, 1)], "sales": pl.Series([None], dtype=dtype)})
    assert np.isnan(read_raw_steps(frame, build_window_layout(1, entity=None)).values_CN).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": ()}, "column: name at least one column"),
        ({"column": ("a", "a")}, "column: 'a' is named twice"),
        ({"column": "a", "known_future": ("a",)}, "known_future: 'a' is named twice"),
        ({"column": "a", "calendar": ("hour", "hour")}, "calendar: a part is named twice"),
        ({"column": "a", "impute_limit": 2}, "impute_limit: nothing looks back"),
        ({"column": "a", "impute": "last", "impute_limit": 0}, "impute_limit: 0 is too small"),
        ({"column": "a", "time_delta": True, "frequency": "1h"}, "time_delta: with `frequency`"),
    ],
)
def test_contradictory_settings_are_rejected(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SeriesInput(**settings)
