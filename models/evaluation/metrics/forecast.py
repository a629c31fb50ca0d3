"""Forecasts beside the truth, summed up row by row.

Shapes: R rows, T steps of a forecast, Q quantiles.
"""

import numpy as np

from models.evaluation.predictions import Floats, ForecastPredictions, ForecastSteps


def summarize_forecasts(steps: ForecastSteps, scale_R: Floats) -> ForecastPredictions:
    """Sum up the errors of each row's forecast.

    A row without a forecast gets the mean of all truth.

    Args:
        steps: truth, answers and quantiles.
        scale_R: what the seasonal naive forecast errs by in each row's past; NaN if not known.
    """
    known_RT = ~np.isnan(steps.target_RT)
    filled_RT = np.where(
        np.isnan(steps.prediction_RT), np.nanmean(steps.target_RT), steps.prediction_RT
    )
    error_RT = np.abs(steps.target_RT - filled_RT)
    size_RT = np.abs(steps.target_RT) + np.abs(filled_RT)
    share_RT = 2 * np.divide(error_RT, size_RT, out=np.zeros_like(error_RT), where=size_RT > 0)
    scale_R = np.where(scale_R > 0, scale_R, np.nan)

    def summed(values_RT: Floats) -> Floats:
        return np.asarray(np.where(known_RT, values_RT, 0.0).sum(axis=1))

    return ForecastPredictions(
        count_R=known_RT.sum(axis=1).astype(np.float64),
        absolute_R=summed(error_RT),
        squared_R=summed(error_RT**2),
        share_R=summed(share_RT),
        scaled_R=summed(error_RT) / scale_R,
        pinball_R=summed(compute_pinball(steps, error_RT)),
        inside_R=summed(mark_covered(steps))
        if len(steps.levels) > 1
        else np.full(len(known_RT), np.nan),
        width_R=summed(measure_widths(steps))
        if len(steps.levels) > 1
        else np.full(len(known_RT), np.nan),
        steps=steps,
    )


def compute_pinball(steps: ForecastSteps, error_RT: Floats) -> Floats:
    """Return the mean quantile loss of each step; of a point, half its absolute error."""
    if not steps.levels:
        return error_RT / 2
    losses = []
    for level, quantile_RT in zip(steps.levels, steps.quantiles_QRT, strict=True):
        over_RT = steps.target_RT - quantile_RT
        losses.append(np.maximum(level * over_RT, (level - 1) * over_RT))
    # A row without a forecast has no quantiles, either.
    return np.where(np.isnan(steps.prediction_RT), error_RT, np.mean(losses, axis=0))


def mark_covered(steps: ForecastSteps) -> Floats:
    """Mark the truth between the lowest and the highest quantile."""
    low_RT, high_RT = steps.quantiles_QRT[0], steps.quantiles_QRT[-1]
    return ((steps.target_RT >= low_RT) & (steps.target_RT <= high_RT)).astype(np.float64)


def measure_widths(steps: ForecastSteps) -> Floats:
    """Measure the way from the lowest to the highest quantile; none where nothing was answered."""
    return np.nan_to_num(steps.quantiles_QRT[-1] - steps.quantiles_QRT[0])


def compute_step_errors(steps: ForecastSteps) -> list[dict[str, float]]:
    """Return the errors of each step ahead; coverage and width where there are quantiles."""
    told = []
    for step in range(steps.target_RT.shape[1]):
        own = ForecastSteps(
            steps.target_RT[:, step : step + 1],
            steps.prediction_RT[:, step : step + 1],
            tuple(quantile_RT[:, step : step + 1] for quantile_RT in steps.quantiles_QRT),
            steps.levels,
        )
        if np.isnan(own.target_RT).all():
            continue
        found = summarize_forecasts(own, np.full(len(own.target_RT), np.nan))
        count = found.count_R.sum()
        entry = {
            "step": step + 1.0,
            "mae": float(found.absolute_R.sum() / count),
            "rmse": float(np.sqrt(found.squared_R.sum() / count)),
            "smape": float(100.0 * found.share_R.sum() / count),
        }
        if len(steps.levels) > 1:
            entry["coverage"] = float(found.inside_R.sum() / count)
            entry["width"] = float(found.width_R.sum() / count)
        told.append(entry)
    return told
