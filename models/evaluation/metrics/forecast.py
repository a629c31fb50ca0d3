"""Errors of forecasts, summed over the steps of each row.

Shapes: R rows, T steps of a forecast, Q quantiles.
"""

import numpy as np

from models.evaluation.predictions import Floats, ForecastPredictions, ForecastSteps


def summarize_forecasts(steps: ForecastSteps, scale_R: Floats) -> ForecastPredictions:
    """Sum the errors of each row's forecast over its steps with a known target.

    A row without a forecast gets the mean of all targets.

    Args:
        steps: targets, predictions and quantiles.
        scale_R: mean error of the seasonal naive forecast on each row's past; NaN where unknown.
    """
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
    for step in range(steps.target_RT.shape[1]):
        one_step = ForecastSteps(
            steps.target_RT[:, step : step + 1],
            steps.prediction_RT[:, step : step + 1],
            tuple(quantile_RT[:, step : step + 1] for quantile_RT in steps.quantiles_QRT),
            steps.levels,
        )
        if np.isnan(one_step.target_RT).all():
            continue
        sums = summarize_forecasts(one_step, np.full(len(one_step.target_RT), np.nan))
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
