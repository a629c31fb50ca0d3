"""Time series: a long table with one row per step, or a table with one list per row.

`config` has the settings, `sorted_series` orders a long table, `frequency` and `resample` bring it
to a regular grid, `channels`, `categories` and `time_features` read it, `statistics`,
`quantile_sample` and `scaler` fit its scale, `scaling` applies it, and `checks` validates the
columns.
"""

from models.features.series.checks import check_series
from models.features.series.config import (
    ROW_COLUMN,
    SeriesInput,
    WindowContext,
    compute_context,
    get_series_input,
    is_resampled,
    scales_per_entity,
)
from models.features.series.featurize import (
    SeriesState,
    build_spec,
    find_channel_scale,
    find_label_channels,
    find_log_range,
    fit,
    fit_windows,
    list_channels,
    transform,
)
from models.features.series.resample import find_resampled_rows, resample_series
from models.features.series.scaler import Scaler
from models.features.series.sorted_series import SortedSeries, find_rows_ahead, index_series

__all__ = [
    "ROW_COLUMN",
    "Scaler",
    "SeriesInput",
    "SeriesState",
    "SortedSeries",
    "WindowContext",
    "build_spec",
    "check_series",
    "compute_context",
    "find_channel_scale",
    "find_label_channels",
    "find_log_range",
    "find_resampled_rows",
    "find_rows_ahead",
    "fit",
    "fit_windows",
    "get_series_input",
    "index_series",
    "is_resampled",
    "list_channels",
    "resample_series",
    "scales_per_entity",
    "transform",
]
