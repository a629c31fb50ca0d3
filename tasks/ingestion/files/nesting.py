"""A bound on how deep the values of a file may be nested.

Polars walks types by recursion in native code: a Parquet file whose type is some hundred levels
deep ends the process by a segmentation fault, which no caller can catch. The schema of such a file
is therefore read by pyarrow first, which refuses Arrow files that are nested that deep itself.
"""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

MAX_DEPTH = 32
"""Levels of lists and structs in a value; images as rows of pixels have three."""


class NestingError(ValueError):
    """A column is nested deeper than can be read."""


def check_parquet_nesting(path: Path) -> None:
    """Check the schema in the footer of a Parquet file.

    Raises:
        NestingError: names the column.
        pyarrow.ArrowException: the file is damaged.
        OSError: the file is damaged.
    """
    schema = pq.read_metadata(path).schema
    for index in range(len(schema)):
        levels = schema.column(index).path.split(".")
        # Parquet has two groups for each list.
        if len(levels) > 2 * MAX_DEPTH + 1:
            raise NestingError(_describe_nesting(levels[0]))


def check_schema_nesting(schema: pl.Schema) -> None:
    """Check the types of the columns of a table.

    Raises:
        NestingError: names the column.
    """
    for name, dtype in schema.items():
        level: list[pl.DataType] = [dtype]
        for _ in range(MAX_DEPTH + 1):
            level = [inner for outer in level for inner in _list_inner_types(outer)]
        if level:
            raise NestingError(_describe_nesting(name))


def _list_inner_types(dtype: pl.DataType) -> list[pl.DataType]:
    """Return the types of the elements of a list or of the fields of a struct; none of others."""
    if isinstance(dtype, pl.Struct):
        fields = [field.dtype for field in dtype.fields]
    else:
        fields = [dtype.inner] if isinstance(dtype, pl.List | pl.Array) else []
    return [field if isinstance(field, pl.DataType) else field() for field in fields]


def _describe_nesting(name: str) -> str:
    """Return the message of a column that is nested too deep."""
    return f"column '{name}' is nested more than {MAX_DEPTH} levels deep"
