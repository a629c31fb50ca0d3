"""Exact order statistics of a column, in memory that does not grow with its rows.

A short column is sorted. A long one is searched as by Floyd and Rivest ("Expected time bounds for
selection", 1975): a sample brackets the wanted rank, one pass counts what lies below the bracket
and collects what lies inside it. A bracket that misses is widened, so the answer is always exact.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

SHORT = 2_000_000
"""Values that are simply sorted."""

SAMPLE = 100_000


def order_statistics(
    scan: pl.LazyFrame, values: pl.Expr, ranks: Sequence[int], *, short: int = SHORT
) -> list[Any]:
    """Give the values at these places of the sorted column.

    Args:
        scan: the rows.
        values: of the column, nulls for what does not count.
        ranks: places from 0 to the number of values less 1.
        short: number of values up to which they are sorted as a whole.
    """
    kept = scan.select(values.alias("value")).drop_nulls()
    total = int(kept.select(pl.len()).collect(engine="streaming").item())
    if total <= short:
        ordered = kept.collect(engine="streaming").to_series().sort()
        return [ordered[rank] for rank in ranks]
    step = max(1, total // min(SAMPLE, max(1, short // 4)))
    numbered = kept.with_row_index("row").filter(pl.col("row") % step == 0).select("value")
    sample = numbered.collect(engine="streaming").to_series().sort()
    return [search(kept, sample, rank, total=total) for rank in ranks]


def search(kept: pl.LazyFrame, sample: pl.Series, rank: int, *, total: int) -> Any:  # noqa: ANN401
    """Find one place: bracket it by the sample, and widen the bracket until it holds the place."""
    place = round(rank / total * (len(sample) - 1))
    slack = 4 * math.isqrt(len(sample)) + 1
    value = pl.col("value")
    while True:
        above = value >= sample[place - slack] if place > slack else pl.lit(value=True)
        wide = place + slack >= len(sample)
        below = pl.lit(value=True) if wide else value <= sample[place + slack]
        inside = kept.filter(above & below).collect(engine="streaming").to_series().sort()
        smaller = int(kept.filter(~above).select(pl.len()).collect(engine="streaming").item())
        if smaller <= rank < smaller + len(inside):
            return inside[rank - smaller]
        slack *= 4


def quantiles(
    scan: pl.LazyFrame, values: pl.Expr, shares: Sequence[float], *, short: int = SHORT
) -> list[Any]:
    """Give the nearest values at these shares of the sorted column, as NumPy's "nearest" does."""
    total = int(scan.select(values.count()).collect(engine="streaming").item())
    if not total:
        return [math.nan for _ in shares]
    ranks = [int(np.around((total - 1) * share)) for share in shares]
    return order_statistics(scan, values, ranks, short=short)


def median(scan: pl.LazyFrame, values: pl.Expr, *, short: int = SHORT) -> float:
    """Give the middle value, or the mean of the two in the middle; NaN when there is none."""
    total = int(scan.select(values.count()).collect(engine="streaming").item())
    if not total:
        return math.nan
    middle = [(total - 1) // 2, total // 2]
    low, high = order_statistics(scan, values, middle, short=short)
    return float(low) if low == high else float(low / 2 + high / 2)
