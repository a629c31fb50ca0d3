"""Columns of text that are dates, times or numbers: parsed alike on ingest and when served."""

from collections.abc import Mapping

import polars as pl

NUMBER, DECIMAL_COMMA = "number", "decimal_comma"
"""The formats of a text that is a number: `1234.5`, or `1.234,5`."""

MISSING_MARKS = ("", "-", "--", "?", ".", "n/a", "na", "nan", "null", "none", "#n/a", "missing")
"""Texts, in lower case, that stand for a number that is missing."""

_DECIMAL_COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?$"

_QUARTER_MONTHS = {"Q1": "Q01", "Q2": "Q04", "Q3": "Q07", "Q4": "Q10"}
"""Quarters as Q and the first month, which is what Polars can read."""


def parse_text(column: pl.Expr, text_format: str) -> pl.Expr:
    """Return the dates, times or numbers of texts; null where one does not have the format.

    Args:
        column: of texts; an empty one is null.
        text_format: `number`, `decimal_comma`, or the parts of a date as in strftime (`%d/%m/%Y`).
            `Q%q` is a quarter; a date without a day is the first of its month.
    """
    text = column.str.strip_chars().replace("", None)
    if text_format == DECIMAL_COMMA:
        plain = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        # Otherwise the date 01.02.2024 would be a number.
        text = pl.when(text.str.contains(_DECIMAL_COMMA)).then(plain)
    if text_format in {NUMBER, DECIMAL_COMMA}:
        return text.cast(pl.Float64, strict=False)
    if "Q%q" in text_format:
        text = text.str.replace_many(_QUARTER_MONTHS)
    if "%z" in text_format:
        text = text.str.replace("Z$", "+00:00")
    polars_format = text_format.replace("Q%q", "Q%m")
    if any(part in text_format for part in ("%H", "%I", "%T", "%R")):
        return text.str.to_datetime(polars_format, time_unit="us", strict=False)
    return text.str.to_date(polars_format, strict=False)


def parse_text_columns(frame: pl.DataFrame, formats: Mapping[str, str]) -> pl.DataFrame:
    """Parse those columns of a frame that are listed and hold text; null where one does not fit."""
    texts = [name for name in formats if frame.schema.get(name) == pl.String]
    return frame.with_columns(parse_text(pl.col(name), formats[name]) for name in texts)
