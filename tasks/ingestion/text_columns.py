"""Parse columns of text into dates, times or numbers, before anything else reads them."""

from collections.abc import Mapping

import polars as pl

from models.features.text_columns import DECIMAL_COMMA, MISSING_MARKS, NUMBER, parse_text
from tasks.errors import SourceError


def parse_columns(rows: pl.LazyFrame, formats: Mapping[str, str], where: str) -> pl.LazyFrame:
    """Parse the columns that hold text; others stay as they are.

    Args:
        rows: the table.
        formats: format by column.
        where: name of the file or table, for the message.

    Raises:
        SourceError: a column is missing, or a text does not have the format.
    """
    schema = rows.collect_schema()
    if absent := [name for name in formats if name not in schema]:
        raise SourceError.of(
            f"source.parse: {where} has no column '{absent[0]}'",
            found=f"Columns: {', '.join(schema.names())}",
            hint="correct the name",
        )
    texts = {name: parse for name, parse in formats.items() if schema[name] == pl.String}
    for name, text_format in texts.items():
        _check_format(rows, name, text_format, where=where)
    return rows.with_columns(parse_text(pl.col(name), parse) for name, parse in texts.items())


def _check_format(rows: pl.LazyFrame, name: str, text_format: str, *, where: str) -> None:
    """Check that all texts of a column have the format.

    Raises:
        SourceError: names the first that does not, or the format where it is none.
    """
    text = pl.col(name).str.strip_chars()
    is_given = text != ""
    if text_format in {NUMBER, DECIMAL_COMMA}:
        is_given = ~text.str.to_lowercase().is_in(list(MISSING_MARKS))
    unlike = is_given & parse_text(pl.col(name), text_format).is_null()
    found = rows.select(unlike.sum().alias("count"), pl.col(name).filter(unlike).first())
    try:
        count, example = found.collect(engine="streaming").row(0)
    except pl.exceptions.ComputeError as error:
        raise SourceError.of(
            f"source.parse: '{text_format}' is no format for column '{name}'",
            found=str(error).partition("\n")[0],
            hint='write `number`, `decimal_comma`, or a date as in strftime, such as "%d/%m/%Y"',
        ) from error
    if count:
        raise SourceError.of(
            f"{where}: column '{name}' has {count} text(s) that are not '{text_format}'",
            found=f"First: {example!r}",
            hint="correct source.parse, or fix the texts; an empty text is read as missing",
        )
