"""Time series: a long table with one row a step, or a table with one list a row.

`config` says what is read, `line` orders a long table, `width` and `resample` bring it to a grid,
`channels` and `times` read it, `moments`, `sample` and `scaler` fit its scale, `scaling` applies
it, and `checks` refuses what cannot be read.
"""

from models.features.series.checks import check
from models.features.series.config import (
    ROW,
    Context,
    SeriesInput,
    context,
    get_series_input,
    is_resampled,
    scales_entities,
)
from models.features.series.fitted import (
    SeriesState,
    channel_scale,
    fit,
    fit_windows,
    signal,
    transform,
)
from models.features.series.line import SortedSeries, find_rows_ahead, index_series
from models.features.series.resample import bins_of_rows, resample
from models.features.series.scaler import Scaler

__all__ = [
    "ROW",
    "Context",
    "Scaler",
    "SeriesInput",
    "SeriesState",
    "SortedSeries",
    "bins_of_rows",
    "channel_scale",
    "check",
    "context",
    "find_rows_ahead",
    "fit",
    "fit_windows",
    "get_series_input",
    "index_series",
    "is_resampled",
    "resample",
    "scales_entities",
    "signal",
    "transform",
]
