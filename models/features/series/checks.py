"""Whether a table's columns can be read as the job says."""

import polars as pl

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.series.config import get_series_input
from models.features.series.width import parse_frequency, refuse_unfit


def check(schema: pl.Schema, layout: Layout) -> None:
    """Refuse columns that are no series.

    Raises:
        UnlearnableError: names the column and the mend.
    """
    read = get_series_input(layout)
    for name in read.columns:
        check_column(name, schema[name], layout)
    if read.scale_per == "entity" and layout.entity is None:
        raise UnlearnableError(
            "inputs: scale_per: 'entity' needs the column that tells the series apart; "
            "name it under source.entity"
        )
    timed = {"calendar": read.calendar, "time_delta": read.time_delta, "frequency": read.frequency}
    asked = next((key for key, value in timed.items() if value), None)
    if layout.window is None:
        refuse_rows(asked or ("known_future" if read.known_future else None))
    elif layout.time:
        check_time(schema[layout.time], layout)
    elif asked:
        raise UnlearnableError(
            f"inputs: {asked} needs the column that holds the time; name it under source.time"
        )


def refuse_rows(asked: str | None) -> None:
    """Refuse what only a table with one row a step can give."""
    if asked:
        raise UnlearnableError(
            f"inputs: {asked} needs a table with one row a step: give the job a window, or "
            f"remove {asked}"
        )


def check_column(name: str, dtype: pl.DataType, layout: Layout) -> None:
    """Refuse a channel that holds no numbers, or lists where a window is asked for."""
    nested = isinstance(dtype, (pl.List, pl.Array))
    inner = dtype
    if isinstance(dtype, (pl.List, pl.Array)):
        inner = pl.Series([], dtype=dtype.inner).dtype
    # A table of nothing but gaps has no type; its rows say so one by one.
    if not (inner.is_numeric() or inner in {pl.Null, pl.Boolean}):
        raise UnlearnableError(f"column '{name}' holds {dtype}, expected numbers or lists of them")
    if nested and layout.window:
        raise UnlearnableError(
            f"column '{name}' holds a whole series in each row, so there is nothing to cut: "
            "remove `window` from the job"
        )
    if not nested and not layout.window and dtype != pl.Null:
        raise UnlearnableError(
            f"column '{name}' holds one step a row: give the job a window, such as "
            "window: {lookback: 28, horizon: 1}"
        )


def check_time(dtype: pl.DataType, layout: Layout) -> None:
    """Refuse a time that cannot order rows, or tell the parts of a calendar."""
    read = get_series_input(layout)
    if not (isinstance(dtype, (pl.Date, pl.Datetime)) or dtype.is_numeric()):
        raise UnlearnableError(
            f"source.time: column '{layout.time}' holds {dtype}, expected dates, times or numbers; "
            "convert it upstream"
        )
    if read.frequency:
        check_grid(dtype, layout)
    clock = tuple(part for part in read.calendar if part in {"minute", "hour"})
    parts = read.calendar if dtype.is_numeric() else clock if dtype == pl.Date else ()
    if parts:
        raise UnlearnableError(
            f"inputs: calendar: column '{layout.time}' holds {dtype}, which has no {parts[0]}; "
            f"remove it, or give {'dates and ' if dtype.is_numeric() else ''}times"
        )


def check_grid(dtype: pl.DataType, layout: Layout) -> None:
    """Refuse a grid that does not fit the time.

    Raises:
        UnlearnableError: says what is expected.
    """
    every = get_series_input(layout).frequency or ""
    try:
        refuse_unfit(parse_frequency(every), dtype)
    except ValueError as error:
        raise UnlearnableError(
            f"inputs: frequency: '{every}' cannot divide column '{layout.time}' ({dtype}): {error}"
        ) from error
