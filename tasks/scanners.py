"""How a file of each format is scanned: its types are found once, by looking at every row."""

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl

Format = Literal["parquet", "csv", "tsv", "jsonl", "arrow"]

Place = Path | io.BytesIO

SAMPLE_ROWS = 1000
"""Rows in which dates are looked for."""

GUESS_ROWS = 10_000
"""Rows from which types are guessed, before they are tried on all."""

WIDER: dict[pl.DataType, pl.DataType] = {pl.Int64(): pl.Float64()}
"""The type that a column gets when a value does not fit; any other becomes text."""

MISFIT = re.compile(r"could not parse `.*` as dtype `.*` at column '(.*)' \(column number")

ISO = r"^\d{4}[-/]\d{2}[-/]\d{2}|^\d{2}:\d{2}"
"""What a date or time in a text file begins with. Others, such as 01/02/2024, could be two days."""


def scan_text(path: Place, *, separator: str) -> pl.LazyFrame:
    """Scan a CSV file; a column is of dates or times if all of its texts can be read so.

    Types are guessed from the first rows and tried on all: where a later value does not fit, its
    column gets the next wider type, at last text. To guess from all rows at once would hold them
    all in memory, and to try every text as a date takes a hundred times as long as to read it.
    """
    schema = dict(first_schema(path, separator, dates=False))
    dated = first_schema(path, separator, dates=True)
    head = pl.scan_csv(path, separator=separator, infer_schema=False, n_rows=SAMPLE_ROWS)
    for name, dtype in dated.items():
        if dtype.is_temporal() and schema[name] == pl.String and looks_dated(head, name):
            schema[name] = dtype
    while misfit := first_misfit(path, separator, schema):
        schema[misfit] = WIDER.get(schema[misfit], pl.String())
    return pl.scan_csv(path, separator=separator, schema=schema)


def first_schema(path: Place, separator: str, *, dates: bool) -> pl.Schema:
    """Guess types from the first rows."""
    rows = SAMPLE_ROWS if dates else GUESS_ROWS
    return pl.scan_csv(
        path, separator=separator, infer_schema_length=rows, n_rows=rows, try_parse_dates=dates
    ).collect_schema()


def first_misfit(path: Place, separator: str, schema: dict[str, pl.DataType]) -> str | None:
    """Read the whole file in these types, and name the column of the first value that is of none.

    Raises:
        ComputeError: the file is damaged.
    """
    scan = pl.scan_csv(path, separator=separator, schema=schema)
    try:
        scan.select(pl.all().count()).collect(engine="streaming")
    except pl.exceptions.ComputeError as error:
        found = MISFIT.search(str(error))
        if found and schema.get(found[1], pl.String()) != pl.String:
            return found[1]
        raise
    return None


def looks_dated(head: pl.LazyFrame, name: str) -> bool:
    """Tell whether all of a column's first texts begin as ISO 8601 writes dates and times."""
    texts = head.select(pl.col(name).drop_nulls().str.contains(ISO).all())
    return bool(texts.collect().item())


def scan_lines(path: Place) -> pl.LazyFrame:
    """Scan JSON Lines."""
    schema = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    return pl.scan_ndjson(path, schema=schema)


SCANNERS: dict[Format, Callable[[Place], pl.LazyFrame]] = {
    "parquet": lambda path: pl.scan_parquet(path, hive_partitioning=False),
    "csv": partial(scan_text, separator=","),
    "tsv": partial(scan_text, separator="\t"),
    "jsonl": scan_lines,
    "arrow": lambda path: pl.scan_ipc(path, hive_partitioning=False),
}
