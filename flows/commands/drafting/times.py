"""Find the column with the time of each row: dates, times, texts of either, or whole steps."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from models.features.text_columns import parse_text

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y",
    "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y",
    "%d-%b-%y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
"""With a dot the day comes first; with `/` or `-` both orders are in use."""

_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p")

_MONTHS = ("%Y-%m", "%Y/%m", "%Y.%m", "%m/%Y", "%m.%Y", "%Y-Q%q", "%YQ%q", "%Y Q%q", "%b %Y",
           "%B %Y", "%b-%Y", "%b-%y")  # fmt: skip

_FORMATS = (
    *_DATES,
    *_MONTHS,
    *(f"{day} {clock}" for day in _DATES for clock in _CLOCKS),
    *(f"%Y-%m-%dT{clock}{zone}" for clock in _CLOCKS[:3] for zone in ("", "%z")),
    *(f"%Y-%m-%d {clock}%z" for clock in _CLOCKS[:3]),
)

_YEARS = (1600, 2400)
"""Years of a plausible date; otherwise 20 would be read as a year."""

_TRIAL_TEXTS = 200
"""Texts on which formats are tried before all of them are parsed."""

_MIN_STEPS = 10
"""Whole steps from which a column of them can be a time."""


class TimeColumn(NamedTuple):
    """A column that orders the rows."""

    name: str
    formats: tuple[str, ...] = ()
    """All formats of a text that fit; several where day and month cannot be told apart."""
    is_step: bool = False
    """Whether it has whole numbers."""


def find_time(frame: pl.DataFrame, *, wanted: str | None = None) -> TimeColumn | None:
    """Find the column of dates or times: the wanted one, a typed one, else one of texts."""
    names = [wanted] if wanted else frame.columns
    for name in names:
        if frame.schema[name].is_temporal():
            return TimeColumn(name)
    for name in names:
        if frame.schema[name] == pl.String and (formats := guess_formats(frame[name])):
            return TimeColumn(name, formats)
    return None


def guess_formats(column: pl.Series) -> tuple[str, ...]:
    """Return the formats that all texts of a column have; several only where they differ in value.

    A year alone is a time only in a column that is named so.
    """
    texts = column.str.strip_chars().replace("", None).drop_nulls()
    if not len(texts):
        return ()
    formats = [*_FORMATS, *(["%Y"] if "year" in column.name.lower() else [])]
    likely = [each for each in formats if _parses(texts.head(_TRIAL_TEXTS), each)]
    fitting = [each for each in likely if _parses(texts, each)]
    swapped = [each for each in fitting if fitting and each == _swap_day_and_month(fitting[0])]
    return (*fitting[:1], *swapped[:1])


def find_step(
    frame: pl.DataFrame, *, entity: str | None, names: Sequence[str], keys: Sequence[str]
) -> tuple[TimeColumn, str | None] | None:
    """Find a column of whole numbers that rises evenly in the order of the rows.

    Args:
        frame: the table.
        entity: the column of the series, where it is given.
        names: columns that may be the time.
        keys: columns that may identify the series, where none is given.

    Returns:
        The column, and the entity within whose rows it rises; None where there is none.
    """
    for name in names:
        if not frame.schema[name].is_integer():
            continue
        for key in [entity] if entity else [None, *keys]:
            if key != name and _rises_evenly(frame, name, key):
                return TimeColumn(name, is_step=True), key
    return None


def _parses(texts: pl.Series, text_format: str) -> bool:
    """Check whether all texts have a format and are of plausible years."""
    frame = texts.alias("text").to_frame()
    try:
        dates = frame.select(parse_text(pl.col("text"), text_format)).to_series()
    except pl.exceptions.PolarsError:
        return False
    return not dates.has_nulls() and bool(dates.dt.year().is_between(*_YEARS).all())


def _swap_day_and_month(text_format: str) -> str | None:
    """Return the format with day and month in the other order; None where it has no such twin."""
    swapped = text_format.replace("%d", "%\0").replace("%m", "%d").replace("%\0", "%m")
    return swapped if swapped != text_format and text_format[:2] in {"%d", "%m"} else None


def _rises_evenly(frame: pl.DataFrame, name: str, entity: str | None) -> bool:
    """Check whether whole numbers rise by the same step from row to row of each series."""
    column = pl.col(name).cast(pl.Int64)
    difference = column.diff().over(entity) if entity else column.diff()
    steps = frame.select(difference.alias("step")).to_series().drop_nulls()
    series = frame[entity].n_unique() if entity else 1
    if frame[name].has_nulls() or len(frame) < _MIN_STEPS * series:
        return False
    return len(steps) == len(frame) - series and steps.n_unique() == 1 and steps[0] > 0
