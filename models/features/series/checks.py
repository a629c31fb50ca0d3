"""Checks that the columns of a table can be read as the settings say."""

import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series.config import get_series_input
from models.features.series.frequency import check_step_fits, parse_frequency


def check_series(schema: pl.Schema, layout: Layout) -> None:
    """Check the types of all columns of a series.

    Raises:
        UnlearnableError: names the column and how to fix it.
    """
    config = get_series_input(layout)
    for name in config.numbers:
        _check_channel(name, schema[name], layout)
    for name in config.categories:
        _check_category(name, schema[name])
    if config.scale_per == "entity" and layout.entity is None:
        raise UnlearnableError(
            "inputs: scale_per: 'entity' needs the column that identifies the series; "
            "name it under source.entity"
        )
    time_settings = {
        "calendar": config.calendar,
        "time_delta": config.time_delta,
        "frequency": config.frequency,
    }
    first_setting = next((key for key, value in time_settings.items() if value), None)
    if layout.window is None:
        window_settings = {"known_future": config.known_future, "categories": config.categories}
        _check_needs_no_window(
            first_setting or next((key for key, names in window_settings.items() if names), None)
        )
    elif layout.time:
        _check_time_column(schema[layout.time], layout)
    elif first_setting:
        raise UnlearnableError(
            f"inputs: {first_setting} needs the column with the time; name it under source.time"
        )


def _check_needs_no_window(setting: str | None) -> None:
    """Check that nothing is set that needs a table with one row per step.

    Raises:
        UnlearnableError: names the setting.
    """
    if setting:
        raise UnlearnableError(
            f"inputs: {setting} needs a table with one row per step: give the job a window, or "
            f"remove {setting}"
        )


def _check_channel(name: str, dtype: pl.DataType, layout: Layout) -> None:
    """Check that a channel has numbers with a window, and lists of numbers without one.

    Raises:
        UnlearnableError: names the column.
    """
    is_list = isinstance(dtype, (pl.List, pl.Array))
    value_type = dtype
    if isinstance(dtype, (pl.List, pl.Array)):
        value_type = pl.Series([], dtype=dtype.inner).dtype
    # A column of nulls has no type; each of its rows gets an error of its own.
    if not (value_type.is_numeric() or value_type in {pl.Null, pl.Boolean}):
        raise UnlearnableError(f"column '{name}' holds {dtype}, expected numbers or lists of them")
    if is_list and layout.window:
        raise UnlearnableError(
            f"column '{name}' holds a whole series in each row, which cannot be cut into windows: "
            "remove `window` from the job"
        )
    if not is_list and not layout.window and dtype != pl.Null:
        raise UnlearnableError(
            f"column '{name}' holds one step per row: give the job a window, such as "
            "window: {lookback: 28, horizon: 1}"
        )


def _check_category(name: str, dtype: pl.DataType) -> None:
    """Check that a column has classes.

    Raises:
        UnlearnableError: names the column.
    """
    if dtype.is_nested() or dtype == pl.Binary:
        raise UnlearnableError(
            f"inputs.categories: column '{name}' holds {dtype}, expected texts, whole numbers or "
            "flags; leave it out"
        )


def _check_time_column(dtype: pl.DataType, layout: Layout) -> None:
    """Check that the time can order rows, and has the parts of the calendar that are set.

    Raises:
        UnlearnableError: names the column.
    """
    config = get_series_input(layout)
    if not (isinstance(dtype, (pl.Date, pl.Datetime)) or dtype.is_numeric()):
        raise UnlearnableError(
            f"source.time: column '{layout.time}' holds {dtype}, expected dates, times or numbers; "
            "convert it upstream, or give the format of its texts, such as "
            f'source.parse: {{{layout.time}: "%Y-%m-%d"}}'
        )
    if config.frequency:
        _check_frequency(dtype, layout)
    clock_parts = tuple(part for part in config.calendar if part in {"minute", "hour"})
    missing_parts = (
        config.calendar if dtype.is_numeric() else clock_parts if dtype == pl.Date else ()
    )
    if missing_parts:
        raise UnlearnableError(
            f"inputs: calendar: column '{layout.time}' holds {dtype}, "
            f"which has no {missing_parts[0]}; "
            f"remove it, or give {'dates and ' if dtype.is_numeric() else ''}times"
        )


def _check_frequency(dtype: pl.DataType, layout: Layout) -> None:
    """Check that the frequency fits the type of the time.

    Raises:
        UnlearnableError: says what is expected.
    """
    frequency = get_series_input(layout).frequency or ""
    try:
        check_step_fits(parse_frequency(frequency), dtype)
    except ValueError as error:
        raise UnlearnableError(
            f"inputs: frequency: '{frequency}' cannot divide column '{layout.time}' ({dtype}): "
            f"{error}"
        ) from error
