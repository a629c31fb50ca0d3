"""Errors of forecasts, summed over the steps of each row.

Shapes: R rows, T steps of a forecast (of several columns steps times K), K columns, Q quantiles.
"""

from typing import Any

import numpy as np

from models.evaluation.predictions import (
    ColumnScales,
    Floats,
    ForecastPredictions,
    ForecastScale,
    ForecastSteps,
)


def summarize_forecasts(steps: ForecastSteps, scale: ForecastScale) -> ForecastPredictions:
    """Sum the errors of each row's forecast over its steps with a known target.

    A row without a forecast gets the mean of all targets. Of several columns the errors are divided
    by the column's standard deviation in training before they are summed, so that no column
    outweighs the others.

    Args:
        steps: targets, predictions and quantiles.
        scale: mean error of the seasonal naive forecast on each row's past, NaN where unknown; of
            several columns their scales.
    """
    if isinstance(scale, ColumnScales):
        return _summarize_columns(steps, scale)
    return _summarize_column(steps, scale)


def _summarize_columns(steps: ForecastSteps, scales: ColumnScales) -> ForecastPredictions:
    """Sum the errors of all columns, in standard deviations."""
    parts = [
        _summarize_column(column.divide_by(std_R), naive_R / std_R)
        for column, std_R, naive_R in zip(
            _split_columns(steps, len(scales.names)),
            scales.std_RK.T,
            scales.naive_error_RK.T,
            strict=True,
        )
    ]

    def add(name: str) -> Floats:
        return np.asarray(np.sum([getattr(part, name) for part in parts], axis=0))

    return ForecastPredictions(
        count_R=add("count_R"),
        absolute_error_R=add("absolute_error_R"),
        squared_error_R=add("squared_error_R"),
        symmetric_error_R=add("symmetric_error_R"),
        scaled_error_R=_add_scaled_errors(parts),
        pinball_R=add("pinball_R"),
        covered_R=add("covered_R"),
        width_R=add("width_R"),
        steps=steps._replace(columns=scales),
    )


def _add_scaled_errors(parts: list[ForecastPredictions]) -> Floats:
    """Add the scaled errors of the columns whose scale is known, extrapolated to all of them."""
    known_KR = np.isfinite([part.scaled_error_R for part in parts])
    errors_R = np.nansum([part.scaled_error_R for part in parts], axis=0)
    counts_KR = np.array([part.count_R for part in parts])
    known_R = np.where(known_KR, counts_KR, 0.0).sum(axis=0)
    share_R = np.divide(
        counts_KR.sum(axis=0), known_R, out=np.full(len(known_R), np.nan), where=known_R > 0
    )
    return np.asarray(errors_R * share_R)


def _split_columns(steps: ForecastSteps, count: int) -> list[ForecastSteps]:
    """Return the forecasts of each column."""
    return [steps.select_numbers(slice(index, None, count)) for index in range(count)]


def _summarize_column(steps: ForecastSteps, scale_R: Floats) -> ForecastPredictions:
    """Sum the errors of one column."""
    known_RT = ~np.isnan(steps.target_RT)
    filled_RT = np.where(
        np.isnan(steps.prediction_RT), np.nanmean(steps.target_RT), steps.prediction_RT
    )
    error_RT = np.abs(steps.target_RT - filled_RT)
    size_RT = np.abs(steps.target_RT) + np.abs(filled_RT)
    symmetric_error_RT = 2 * np.divide(
        error_RT, size_RT, out=np.zeros_like(error_RT), where=size_RT > 0
    )
    scale_R = np.where(scale_R > 0, scale_R, np.nan)

    def sum_known(values_RT: Floats) -> Floats:
        return np.asarray(np.where(known_RT, values_RT, 0.0).sum(axis=1))

    return ForecastPredictions(
        count_R=known_RT.sum(axis=1).astype(np.float64),
        absolute_error_R=sum_known(error_RT),
        squared_error_R=sum_known(error_RT**2),
        symmetric_error_R=sum_known(symmetric_error_RT),
        scaled_error_R=sum_known(error_RT) / scale_R,
        pinball_R=sum_known(_compute_pinball(steps, error_RT)),
        covered_R=sum_known(_mark_covered(steps))
        if len(steps.levels) > 1
        else np.full(len(known_RT), np.nan),
        width_R=sum_known(_measure_widths(steps))
        if len(steps.levels) > 1
        else np.full(len(known_RT), np.nan),
        steps=steps,
    )


def compute_step_errors(steps: ForecastSteps) -> list[dict[str, float]]:
    """Return the errors of each step ahead; with coverage and width where there are quantiles."""
    entries = []
    width = len(steps.columns.names) if steps.columns else 1
    scale = steps.columns or np.full(len(steps.target_RT), np.nan)
    for step in range(steps.target_RT.shape[1] // width):
        one_step = steps.select_numbers(slice(step * width, (step + 1) * width))
        if np.isnan(one_step.target_RT).all():
            continue
        sums = summarize_forecasts(one_step, scale)
        count = sums.count_R.sum()
        entry = {
            "step": step + 1.0,
            "mae": float(sums.absolute_error_R.sum() / count),
            "rmse": float(np.sqrt(sums.squared_error_R.sum() / count)),
            "smape": float(100.0 * sums.symmetric_error_R.sum() / count),
        }
        if len(steps.levels) > 1:
            entry["coverage"] = float(sums.covered_R.sum() / count)
            entry["width"] = float(sums.width_R.sum() / count)
        entries.append(entry)
    return entries


def compute_column_errors(forecasts: ForecastPredictions) -> list[dict[str, Any]]:
    """Return the errors of each of several columns: in its own unit, and standardized."""
    columns = forecasts.steps.columns
    if columns is None:
        return []
    entries: list[dict[str, Any]] = []
    for index, column in enumerate(_split_columns(forecasts.steps, len(columns.names))):
        if np.isnan(column.target_RT).all():
            continue
        std_R, naive_R = columns.std_RK[:, index], columns.naive_error_RK[:, index]
        own, scaled = (
            _summarize_column(*each)
            for each in ((column, naive_R), (column.divide_by(std_R), naive_R / std_R))
        )
        known_R, count = np.isfinite(own.scaled_error_R), own.count_R.sum()
        known = own.count_R[known_R].sum()
        entries.append(
            {
                "column": columns.names[index],
                "mae": float(own.absolute_error_R.sum() / count),
                "rmse": float(np.sqrt(own.squared_error_R.sum() / count)),
                "smape": float(100.0 * own.symmetric_error_R.sum() / count),
                "mase": float(own.scaled_error_R[known_R].sum() / known) if known else None,
                "standardized_mae": float(scaled.absolute_error_R.sum() / count),
                "standardized_mse": float(scaled.squared_error_R.sum() / count),
            }
        )
    return entries


def _compute_pinball(steps: ForecastSteps, error_RT: Floats) -> Floats:
    """Mean quantile loss [R, T] over the levels q: max(q (y - f), (q - 1) (y - f)).

    Of a point forecast half the absolute error, which is the loss of the median.
    """
    if not steps.levels:
        return error_RT / 2
    losses = []
    for level, quantile_RT in zip(steps.levels, steps.quantiles_QRT, strict=True):
        over_RT = steps.target_RT - quantile_RT
        losses.append(np.maximum(level * over_RT, (level - 1) * over_RT))
    # A row without a forecast has no quantiles either.
    return np.where(np.isnan(steps.prediction_RT), error_RT, np.mean(losses, axis=0))


def _mark_covered(steps: ForecastSteps) -> Floats:
    """Mark targets between the lowest and the highest quantile, as 0 or 1, [R, T]."""
    low_RT, high_RT = steps.quantiles_QRT[0], steps.quantiles_QRT[-1]
    return ((steps.target_RT >= low_RT) & (steps.target_RT <= high_RT)).astype(np.float64)


def _measure_widths(steps: ForecastSteps) -> Floats:
    """Return the distance from the lowest to the highest quantile, [R, T]; 0 without a forecast."""
    return np.nan_to_num(steps.quantiles_QRT[-1] - steps.quantiles_QRT[0])
