"""Find rows with the same key as another row, in memory that does not grow with the rows.

Equal keys have equal hashes, so the rows are processed by slices of their keys' hashes, one pass a
slice, each small enough for the memory. A strictly increasing key needs one light pass only.
"""

import math
from collections.abc import Iterator

import polars as pl

_MAX_KEYS_IN_MEMORY = 1_500_000
"""Largest number of keys in memory at once."""

ROW_NUMBER = "__row__"


def slice_by_hash(
    rows: pl.LazyFrame, names: list[str], max_in_memory: int
) -> Iterator[pl.LazyFrame]:
    """Split the rows by hash into slices of about `max_in_memory`; equal keys share a slice."""
    total = int(rows.select(pl.len()).collect(engine="streaming").item())
    count = max(1, math.ceil(total / max_in_memory))
    key = pl.col(names[0]).hash() if len(names) == 1 else pl.struct(names).hash()
    for number in range(count):
        yield rows.filter(key % count == number) if count > 1 else rows


def count_duplicates(
    scan: pl.LazyFrame,
    keys: dict[str, pl.Expr],
    evaluated: pl.Expr,
    *,
    max_in_memory: int = _MAX_KEYS_IN_MEMORY,
) -> int:
    """Count the evaluated rows that share their key with another evaluated row.

    Args:
        scan: the rows.
        keys: expressions that form the key, by name.
        evaluated: true for the rows that take part.
        max_in_memory: largest number of keys in memory at once.
    """
    names = list(keys)
    rows = _select_keys(scan, keys, evaluated)
    if len(names) == 1 and _is_strictly_increasing(rows, names[0]):
        return 0
    return sum(_count_repeats(part, names) for part in slice_by_hash(rows, names, max_in_memory))


def find_duplicates(
    scan: pl.LazyFrame,
    keys: dict[str, pl.Expr],
    evaluated: pl.Expr,
    *,
    max_in_memory: int = _MAX_KEYS_IN_MEMORY,
) -> Iterator[pl.Series]:
    """Yield the numbers of the evaluated rows that share their key, slice by slice."""
    rows, names = _select_numbered_keys(scan, keys, evaluated), list(keys)
    for part in slice_by_hash(rows, names, max_in_memory):
        grouped = part.group_by(names).agg(ROW_NUMBER).filter(pl.col(ROW_NUMBER).list.len() > 1)
        yield grouped.select(pl.col(ROW_NUMBER).explode()).collect(engine="streaming").to_series()


def find_first_duplicates(
    scan: pl.LazyFrame, keys: dict[str, pl.Expr], evaluated: pl.Expr, *, limit: int
) -> pl.Series:
    """Find the first `limit` of those row numbers, ascending."""
    found: list[int] = []
    for numbers in find_duplicates(scan, keys, evaluated):
        found = sorted([*found, *numbers.sort().head(limit)])[:limit]
    return pl.Series(ROW_NUMBER, found, dtype=pl.get_index_type())


def _select_numbered_keys(
    scan: pl.LazyFrame, keys: dict[str, pl.Expr], evaluated: pl.Expr
) -> pl.LazyFrame:
    """Select number and key of the evaluated rows."""
    return _select_keys(
        scan.with_row_index(ROW_NUMBER), keys | {ROW_NUMBER: pl.col(ROW_NUMBER)}, evaluated
    )


def _select_keys(scan: pl.LazyFrame, keys: dict[str, pl.Expr], evaluated: pl.Expr) -> pl.LazyFrame:
    """Select the keys of the evaluated rows."""
    columns = [expression.alias(name) for name, expression in keys.items()]
    return (
        scan.select(*columns, evaluated.alias("__evaluated__"))
        .filter("__evaluated__")
        .select(list(keys))
    )


def _count_repeats(rows: pl.LazyFrame, names: list[str]) -> int:
    """Count the rows whose key occurs more than once."""
    key = pl.col(names[0]) if len(names) == 1 else pl.struct(names)
    counts = rows.select(pl.len(), key.n_unique().alias("distinct"))
    total, distinct = counts.collect(engine="streaming").row(0)
    if total == distinct:
        return 0
    sizes = rows.group_by(names).len().filter(pl.col("len") > 1)
    return int(sizes.select(pl.col("len").sum()).collect(engine="streaming").item())


def _is_strictly_increasing(rows: pl.LazyFrame, name: str) -> bool:
    """Return whether each key is present and above the one before it, so that all are unique."""
    dtype = rows.collect_schema()[name]
    if not (dtype.is_integer() or dtype.is_temporal()):
        return False
    key = pl.col(name)
    not_increasing = (key <= key.shift(1)) | key.is_null()
    return not rows.select(not_increasing.any()).collect(engine="streaming").item()
