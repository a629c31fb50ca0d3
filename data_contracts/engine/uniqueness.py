"""Rows that hold the same as another row, in memory that does not grow with the rows.

Equal keys have equal hashes, so the rows are looked at by slices of their keys' hashes, one pass a
slice, each slice small enough to be held. A key that only grows needs one light pass.
"""

import math
from collections.abc import Iterator

import polars as pl

HELD = 1_500_000
"""Keys that are held at once."""

ROW = "__row__"


def keyed(scan: pl.LazyFrame, keys: dict[str, pl.Expr], judged: pl.Expr) -> pl.LazyFrame:
    """Keep the judged rows: their number and their key."""
    return judged_keys(scan.with_row_index(ROW), keys | {ROW: pl.col(ROW)}, judged)


def judged_keys(scan: pl.LazyFrame, keys: dict[str, pl.Expr], judged: pl.Expr) -> pl.LazyFrame:
    """Keep the keys of the judged rows."""
    named = [expression.alias(name) for name, expression in keys.items()]
    return scan.select(*named, judged.alias("__judged__")).filter("__judged__").select(list(keys))


def slices_of(rows: pl.LazyFrame, names: list[str], held: int) -> Iterator[pl.LazyFrame]:
    """Cut the rows so that equal keys fall into one slice."""
    total = int(rows.select(pl.len()).collect(engine="streaming").item())
    count = max(1, math.ceil(total / held))
    key = pl.col(names[0]).hash() if len(names) == 1 else pl.struct(names).hash()
    for number in range(count):
        yield rows.filter(key % count == number) if count > 1 else rows


def count_duplicated(
    scan: pl.LazyFrame, keys: dict[str, pl.Expr], judged: pl.Expr, *, held: int = HELD
) -> int:
    """Count the judged rows whose key another judged row has too.

    Args:
        scan: the rows.
        keys: expressions that make the key, by a name.
        judged: true for the rows that take part.
        held: keys that are held at once.
    """
    names = list(keys)
    rows = judged_keys(scan, keys, judged)
    if len(names) == 1 and only_grows(rows, names[0]):
        return 0
    return sum(repeats_in(cut, names) for cut in slices_of(rows, names, held))


def repeats_in(rows: pl.LazyFrame, names: list[str]) -> int:
    """Count the rows whose key is not the only one of its kind."""
    key = pl.col(names[0]) if len(names) == 1 else pl.struct(names)
    counts = rows.select(pl.len(), key.n_unique().alias("distinct"))
    total, distinct = counts.collect(engine="streaming").row(0)
    if total == distinct:
        return 0
    sizes = rows.group_by(names).len().filter(pl.col("len") > 1)
    return int(sizes.select(pl.col("len").sum()).collect(engine="streaming").item())


def only_grows(rows: pl.LazyFrame, name: str) -> bool:
    """Tell whether each key is there, and above the one before it: then no two are equal."""
    dtype = rows.collect_schema()[name]
    if not (dtype.is_integer() or dtype.is_temporal()):
        return False
    key = pl.col(name)
    stays = (key <= key.shift(1)) | key.is_null()
    return not rows.select(stays.any()).collect(engine="streaming").item()


def duplicated_rows(
    scan: pl.LazyFrame, keys: dict[str, pl.Expr], judged: pl.Expr, *, held: int = HELD
) -> Iterator[pl.Series]:
    """Give the numbers of the judged rows whose key another judged row has too, slice by slice."""
    rows, names = keyed(scan, keys, judged), list(keys)
    for cut in slices_of(rows, names, held):
        grouped = cut.group_by(names).agg(ROW).filter(pl.col(ROW).list.len() > 1)
        yield grouped.select(pl.col(ROW).explode()).collect(engine="streaming").to_series()


def first_duplicated(
    scan: pl.LazyFrame, keys: dict[str, pl.Expr], judged: pl.Expr, *, limit: int
) -> pl.Series:
    """Give the first `limit` of those row numbers, in the order of the rows."""
    found: list[int] = []
    for numbers in duplicated_rows(scan, keys, judged):
        found = sorted([*found, *numbers.sort().head(limit)])[:limit]
    return pl.Series(ROW, found, dtype=pl.get_index_type())
