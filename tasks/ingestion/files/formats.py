"""How a file of each format is scanned: its types are found once, by looking at every row."""

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl

from tasks.ingestion.files.csv_blocks import is_plain, read_blocks

Format = Literal["parquet", "csv", "tsv", "jsonl", "arrow"]

Place = Path | io.BytesIO

SAMPLE_ROWS = 1000
"""Rows in which dates are looked for."""

GUESS_ROWS = 10_000
"""Rows from which types are guessed, before they are tried on all."""

WIDER: dict[pl.DataType, pl.DataType] = {pl.Int64(): pl.Float64()}
"""The type that a column gets when a value does not fit; any other becomes text."""

LARGEST_WHOLE = 2**53
"""Up to here every whole number is a float of its own."""

MISFIT = re.compile(
    r"could not parse `.*` as dtype `.*` at column '(.*)' \(column number", re.DOTALL
)

ISO = r"^\d{4}[-/]\d{2}[-/]\d{2}"
"""What a date in a text file begins with. Others, such as 01/02/2024, could be two days."""


def scan_text(path: Place, *, separator: str) -> pl.LazyFrame:
    """Scan a CSV file; a column is of dates if all of its texts can be read so.

    Types are guessed from the first rows and tried on all: where a later value does not fit, its
    column gets the next wider type, at last text. To guess from all rows at once would hold them
    all in memory, and to try every text as a date takes a hundred times as long as to read it.
    """
    schema = dict(first_schema(path, separator, dates=False))
    dated = first_schema(path, separator, dates=True)
    head = pl.scan_csv(
        path, separator=separator, infer_schema=False, n_rows=SAMPLE_ROWS, glob=False
    )
    for name, dtype in dated.items():
        day = isinstance(dtype, pl.Date | pl.Datetime) and schema[name] == pl.String
        if day and looks_dated(head, name):
            schema[name] = dtype
        elif schema[name] == pl.Int128:
            # More digits than a whole number has room for: kept as they are written.
            schema[name] = pl.String()
    widened = []
    plain = is_plain(path)
    while isinstance(found := try_types(path, separator, schema, plain=plain), str):
        schema[found] = WIDER.get(schema[found], pl.String())
        widened.append(found)
    scan = pl.scan_csv(path, separator=separator, schema=schema, glob=False)
    if inexact := [n for n in widened if schema[n] == pl.Float64 and loses_digits(scan, n)]:
        schema |= dict.fromkeys(inexact, pl.String())
        scan = pl.scan_csv(path, separator=separator, schema=schema, glob=False)
    # Of a column without a value nobody knows the type; another file may tell it.
    return scan.with_columns(pl.col(name).cast(pl.Null) for name in schema if not found[name])


def loses_digits(scan: pl.LazyFrame, name: str) -> bool:
    """Tell whether whole numbers among a column's fractions are too large to be told apart."""
    largest = scan.select(pl.col(name).abs().max()).collect(engine="streaming").item()
    return largest is not None and largest >= LARGEST_WHOLE


def first_schema(path: Place, separator: str, *, dates: bool) -> pl.Schema:
    """Guess types from the first rows."""
    rows = SAMPLE_ROWS if dates else GUESS_ROWS
    return pl.scan_csv(
        path,
        separator=separator,
        infer_schema_length=rows,
        n_rows=rows,
        try_parse_dates=dates,
        glob=False,
    ).collect_schema()


def try_types(
    path: Place, separator: str, schema: dict[str, pl.DataType], *, plain: bool
) -> str | dict[str, int]:
    """Read the whole file in these types, block by block where it is plain.

    Returns:
        How many values each column has; or the column of the first value that does not fit.

    Raises:
        ComputeError: the file is damaged.
    """
    try:
        if plain and isinstance(path, Path):
            frames = read_blocks(path, separator=separator, schema=schema)
            counts = [frame.select(pl.all().count()) for frame in frames]
            return pl.concat(counts).sum().row(0, named=True)
        scan = pl.scan_csv(path, separator=separator, schema=schema, glob=False)
        return scan.select(pl.all().count()).collect(engine="streaming").row(0, named=True)
    except pl.exceptions.ComputeError as error:
        found = MISFIT.search(str(error))
        if found and schema.get(found[1], pl.String()) != pl.String:
            return found[1]
        raise


def looks_dated(head: pl.LazyFrame, name: str) -> bool:
    """Tell whether all of a column's first texts begin as ISO 8601 writes dates."""
    texts = head.select(pl.col(name).drop_nulls().str.contains(ISO).all())
    return bool(texts.collect().item())


def scan_lines(path: Place) -> pl.LazyFrame:
    """Scan JSON Lines."""
    literal = Path(re.sub(r"([*?\[])", r"[\1]", str(path))) if isinstance(path, Path) else path
    found = pl.scan_ndjson(literal, infer_schema_length=None).collect_schema()
    # More digits than a whole number has room for: kept as they are written.
    schema = {name: pl.String() if t == pl.Int128 else t for name, t in found.items()}
    return pl.scan_ndjson(literal, schema=schema)


SEPARATORS: dict[Format, str] = {"csv": ",", "tsv": "\t"}

SCANNERS: dict[Format, Callable[[Place], pl.LazyFrame]] = {
    "parquet": lambda path: pl.scan_parquet(path, hive_partitioning=False, glob=False),
    "csv": partial(scan_text, separator=","),
    "tsv": partial(scan_text, separator="\t"),
    "jsonl": scan_lines,
    "arrow": lambda path: pl.scan_ipc(path, hive_partitioning=False, glob=False),
}
