"""Forecasts beside the truth, summed up row by row.

Shapes: R rows, T steps of a forecast, Q quantiles.
"""

import numpy as np

from models.evaluation.predictions import Floats, Forecasts, Steps


def judge_forecasts(steps: Steps, scale_R: Floats) -> Forecasts:
    """Sum up the errors of each row's forecast.

    A row without a forecast gets the mean of all truth.

    Args:
        steps: truth, answers and quantiles.
        scale_R: what the seasonal naive forecast errs by in each row's past; NaN if not known.
    """
    known_RT = ~np.isnan(steps.truth_RT)
    filled_RT = np.where(np.isnan(steps.answer_RT), np.nanmean(steps.truth_RT), steps.answer_RT)
    error_RT = np.abs(steps.truth_RT - filled_RT)
    size_RT = np.abs(steps.truth_RT) + np.abs(filled_RT)
    share_RT = 2 * np.divide(error_RT, size_RT, out=np.zeros_like(error_RT), where=size_RT > 0)
    scale_R = np.where(scale_R > 0, scale_R, np.nan)

    def summed(values_RT: Floats) -> Floats:
        return np.asarray(np.where(known_RT, values_RT, 0.0).sum(axis=1))

    return Forecasts(
        count_R=known_RT.sum(axis=1).astype(np.float64),
        absolute_R=summed(error_RT),
        squared_R=summed(error_RT**2),
        share_R=summed(share_RT),
        scaled_R=summed(error_RT) / scale_R,
        pinball_R=summed(pinball_of(steps, error_RT)),
        inside_R=summed(inside(steps)) if len(steps.levels) > 1 else np.full(len(known_RT), np.nan),
        width_R=summed(widths(steps)) if len(steps.levels) > 1 else np.full(len(known_RT), np.nan),
        steps=steps,
    )


def pinball_of(steps: Steps, error_RT: Floats) -> Floats:
    """Give the mean quantile loss of each step; of a point, half its absolute error."""
    if not steps.levels:
        return error_RT / 2
    losses = []
    for level, quantile_RT in zip(steps.levels, steps.quantiles_QRT, strict=True):
        over_RT = steps.truth_RT - quantile_RT
        losses.append(np.maximum(level * over_RT, (level - 1) * over_RT))
    # A row without a forecast has no quantiles, either.
    return np.where(np.isnan(steps.answer_RT), error_RT, np.mean(losses, axis=0))


def inside(steps: Steps) -> Floats:
    """Mark the truth between the lowest and the highest quantile."""
    low_RT, high_RT = steps.quantiles_QRT[0], steps.quantiles_QRT[-1]
    return ((steps.truth_RT >= low_RT) & (steps.truth_RT <= high_RT)).astype(np.float64)


def widths(steps: Steps) -> Floats:
    """Measure the way from the lowest to the highest quantile; none where nothing was answered."""
    return np.nan_to_num(steps.quantiles_QRT[-1] - steps.quantiles_QRT[0])


def errors_by_step(steps: Steps) -> list[dict[str, float]]:
    """Tell the errors of each step ahead, and coverage and width where there are quantiles."""
    told = []
    for step in range(steps.truth_RT.shape[1]):
        own = Steps(
            steps.truth_RT[:, step : step + 1],
            steps.answer_RT[:, step : step + 1],
            tuple(quantile_RT[:, step : step + 1] for quantile_RT in steps.quantiles_QRT),
            steps.levels,
        )
        if np.isnan(own.truth_RT).all():
            continue
        found = judge_forecasts(own, np.full(len(own.truth_RT), np.nan))
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
