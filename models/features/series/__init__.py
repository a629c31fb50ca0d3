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
    read_of,
    resampled,
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
from models.features.series.line import Line, line_up, row_ahead
from models.features.series.resample import bins_of_rows, resample
from models.features.series.scaler import Scaler

__all__ = [
    "ROW",
    "Context",
    "Line",
    "Scaler",
    "SeriesInput",
    "SeriesState",
    "bins_of_rows",
    "channel_scale",
    "check",
    "context",
    "fit",
    "fit_windows",
    "line_up",
    "read_of",
    "resample",
    "resampled",
    "row_ahead",
    "scales_entities",
    "signal",
    "transform",
]
