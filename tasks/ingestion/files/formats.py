"""Scan a file of each format as a lazy frame; text formats get types that fit all of their rows."""

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl

from tasks.ingestion.files.csv_blocks import is_unquoted_text, read_csv_blocks

Format = Literal["parquet", "csv", "tsv", "jsonl", "arrow"]

_Input = Path | io.BytesIO

_SAMPLE_ROWS = 1000
"""First rows that are checked for dates."""

_INFERENCE_ROWS = 10_000
"""First rows from which types are inferred, before they are tried on all rows."""

_WIDER_TYPES: dict[pl.DataType, pl.DataType] = {pl.Int64(): pl.Float64()}
"""The type to try next when a value does not fit; columns of other types become text."""

_MAX_EXACT_FLOAT = 2**53
"""Float64 represents every integer up to here exactly."""

_PARSE_FAILURE = re.compile(
    r"could not parse `.*` as dtype `.*` at column '(.*)' \(column number", re.DOTALL
)

_ISO_DATE = r"^\d{4}[-/]\d{2}[-/]\d{2}"
"""How a date in a text file begins. Others, such as 01/02/2024, are ambiguous and stay text."""


TEXT_TABLES: tuple[Format, ...] = ("csv", "tsv")

_SEPARATORS = (",", ";", "\t", "|")
"""Separators of a .csv file; the first one is taken where several are equally frequent."""

_HEADER_BYTES = 65_536


def find_separator(path: _Input, kind: Format) -> str:
    """Find what separates the columns: of a .csv file, the most frequent one in its header.

    Programs of countries that write a comma in decimals separate columns by semicolons.
    """
    if kind == "tsv":
        return "\t"
    if isinstance(path, Path):
        with path.open("rb") as file:
            begin = file.read(_HEADER_BYTES)
    else:
        begin = path.getvalue()[:_HEADER_BYTES]
    header = re.sub(rb'"[^"]*"', b"", begin).partition(b"\n")[0].decode("utf-8", "replace")
    return max(_SEPARATORS, key=header.count)


def _scan_csv(path: _Input, *, kind: Format) -> pl.LazyFrame:
    """Scan a text table with a header; a column has dates only if all of its values are dates.

    Types are inferred from the first rows and tried on all: where a later value does not fit, its
    column gets the next wider type, finally text. Inference from all rows at once would hold them
    in memory, and parsing every text as a date takes a hundred times as long as reading it.
    """
    separator = find_separator(path, kind)
    schema = dict(_infer_schema(path, separator, dates=False))
    dated = _infer_schema(path, separator, dates=True)
    head = pl.scan_csv(
        path, separator=separator, infer_schema=False, n_rows=_SAMPLE_ROWS, glob=False
    )
    for name, dtype in dated.items():
        parsed = isinstance(dtype, pl.Date | pl.Datetime) and schema[name] == pl.String
        if parsed and _has_iso_dates(head, name):
            schema[name] = dtype
        elif schema[name] == pl.Int128:
            # More digits than Int64 can store, so it stays text.
            schema[name] = pl.String()
    widened = []
    unquoted = is_unquoted_text(path)
    while isinstance(result := _try_schema(path, separator, schema, unquoted=unquoted), str):
        schema[result] = _WIDER_TYPES.get(schema[result], pl.String())
        widened.append(result)
    scan = pl.scan_csv(path, separator=separator, schema=schema, glob=False)
    if inexact := [n for n in widened if schema[n] == pl.Float64 and _loses_digits(scan, n)]:
        schema |= dict.fromkeys(inexact, pl.String())
        scan = pl.scan_csv(path, separator=separator, schema=schema, glob=False)
    # The type of a column without values is unknown; another file may have one.
    return scan.with_columns(pl.col(name).cast(pl.Null) for name in schema if not result[name])


def _loses_digits(scan: pl.LazyFrame, name: str) -> bool:
    """Check whether Float64 would round large integers of a column."""
    largest = scan.select(pl.col(name).abs().max()).collect(engine="streaming").item()
    return largest is not None and largest >= _MAX_EXACT_FLOAT


def _infer_schema(path: _Input, separator: str, *, dates: bool) -> pl.Schema:
    """Infer types from the first rows; `dates` parses dates and times too."""
    rows = _SAMPLE_ROWS if dates else _INFERENCE_ROWS
    return pl.scan_csv(
        path,
        separator=separator,
        infer_schema_length=rows,
        n_rows=rows,
        try_parse_dates=dates,
        glob=False,
    ).collect_schema()


def _try_schema(
    path: _Input, separator: str, schema: dict[str, pl.DataType], *, unquoted: bool
) -> str | dict[str, int]:
    """Read the whole file in these types, block by block where it has no quotes.

    Returns:
        The number of values by column; or the name of the first column with a value that does not
        fit.

    Raises:
        polars.exceptions.ComputeError: the file is damaged.
    """
    try:
        if unquoted and isinstance(path, Path):
            frames = read_csv_blocks(path, separator=separator, schema=schema)
            counts = [frame.select(pl.all().count()) for frame in frames]
            return pl.concat(counts).sum().row(0, named=True)
        scan = pl.scan_csv(path, separator=separator, schema=schema, glob=False)
        return scan.select(pl.all().count()).collect(engine="streaming").row(0, named=True)
    except pl.exceptions.ComputeError as error:
        failure = _PARSE_FAILURE.search(str(error))
        if failure and schema.get(failure[1], pl.String()) != pl.String:
            return failure[1]
        raise


def _has_iso_dates(head: pl.LazyFrame, name: str) -> bool:
    """Check that all texts of a column in the first rows begin with an ISO 8601 date."""
    texts = head.select(pl.col(name).drop_nulls().str.contains(_ISO_DATE).all())
    return bool(texts.collect().item())


def _scan_json_lines(path: _Input) -> pl.LazyFrame:
    """Scan JSON Lines; integers too large for Int64 become text."""
    literal = Path(re.sub(r"([*?\[])", r"[\1]", str(path))) if isinstance(path, Path) else path
    inferred = pl.scan_ndjson(literal, infer_schema_length=None).collect_schema()
    # More digits than Int64 can store, so it stays text.
    schema = {name: pl.String() if t == pl.Int128 else t for name, t in inferred.items()}
    return pl.scan_ndjson(literal, schema=schema)


SCANNERS: dict[Format, Callable[[_Input], pl.LazyFrame]] = {
    "parquet": lambda path: pl.scan_parquet(path, hive_partitioning=False, glob=False),
    "csv": partial(_scan_csv, kind="csv"),
    "tsv": partial(_scan_csv, kind="tsv"),
    "jsonl": _scan_json_lines,
    "arrow": lambda path: pl.scan_ipc(path, hive_partitioning=False, glob=False),
}
