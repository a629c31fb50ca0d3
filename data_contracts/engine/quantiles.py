"""Exact order statistics of a column, in memory that does not grow with its rows.

A short column is sorted. A long one is searched as by Floyd and Rivest ("Expected time bounds for
selection", 1975): a sample brackets the wanted rank, one pass counts the values below the bracket
and collects those inside. A bracket without the rank is widened, so the result is always exact.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

_MAX_SORTED = 2_000_000
"""Number of values up to which they are sorted."""

_SAMPLE_SIZE = 100_000


def compute_order_statistics(
    scan: pl.LazyFrame, values: pl.Expr, ranks: Sequence[int], *, max_sorted: int = _MAX_SORTED
) -> list[Any]:
    """Return the values at these ranks of the sorted column.

    Args:
        scan: the rows.
        values: of the column, with null for values to ignore.
        ranks: from 0 to the number of values less 1.
        max_sorted: number of values up to which they are sorted as a whole.
    """
    present = scan.select(values.alias("value")).drop_nulls()
    total = int(present.select(pl.len()).collect(engine="streaming").item())
    if total <= max_sorted:
        ordered = present.collect(engine="streaming").to_series().sort()
        return [ordered[rank] for rank in ranks]
    step = max(1, total // min(_SAMPLE_SIZE, max(1, max_sorted // 4)))
    numbered = present.with_row_index("row").filter(pl.col("row") % step == 0).select("value")
    sample = numbered.collect(engine="streaming").to_series().sort()
    return [_search_rank(present, sample, rank, total=total) for rank in ranks]


def compute_quantiles(
    scan: pl.LazyFrame, values: pl.Expr, shares: Sequence[float], *, max_sorted: int = _MAX_SORTED
) -> list[Any]:
    """Return the quantiles at these shares, by NumPy's method "nearest"; NaN without values."""
    total = int(scan.select(values.count()).collect(engine="streaming").item())
    if not total:
        return [math.nan for _ in shares]
    ranks = [int(np.around((total - 1) * share)) for share in shares]
    return compute_order_statistics(scan, values, ranks, max_sorted=max_sorted)


def compute_median(scan: pl.LazyFrame, values: pl.Expr, *, max_sorted: int = _MAX_SORTED) -> float:
    """Return the middle value, or the mean of the two middle ones; NaN without values."""
    total = int(scan.select(values.count()).collect(engine="streaming").item())
    if not total:
        return math.nan
    middle = [(total - 1) // 2, total // 2]
    low, high = compute_order_statistics(scan, values, middle, max_sorted=max_sorted)
    return float(low) if low == high else float(low / 2 + high / 2)


def _search_rank(present: pl.LazyFrame, sample: pl.Series, rank: int, *, total: int) -> Any:  # noqa: ANN401
    """Find the value of one rank: bracket it by the sample, and widen the bracket as needed."""
    center = round(rank / total * (len(sample) - 1))
    slack = 4 * math.isqrt(len(sample)) + 1
    value = pl.col("value")
    while True:
        above = value >= sample[center - slack] if center > slack else pl.lit(value=True)
        wide = center + slack >= len(sample)
        below = pl.lit(value=True) if wide else value <= sample[center + slack]
        inside = present.filter(above & below).collect(engine="streaming").to_series().sort()
        smaller = int(present.filter(~above).select(pl.len()).collect(engine="streaming").item())
        if smaller <= rank < smaller + len(inside):
            return inside[rank - smaller]
        slack *= 4
