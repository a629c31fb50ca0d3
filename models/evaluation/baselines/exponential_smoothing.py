"""Forecasts by ETS and Theta, where `statsforecast` is installed (the extra `ets`).

AutoETS chooses error, trend and season of exponential smoothing by AICc (Hyndman et al. 2002),
AutoTheta a Theta model (Fiorucci et al. 2016). Each is fitted once to a series, on its values up to
its first forecast; for later ones its state is moved on over the values since, with the same
parameters.

Shapes: V values of a series, R forecasts, T steps ahead.
"""

import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from models.evaluation.predictions import Floats
from models.features.steps import Integers

logger = logging.getLogger(__name__)

MAX_SERIES, MAX_FORECASTS = 500, 5_000
"""Most series, and most forecasts of all of them, for which these models are fitted."""

_MAX_VALUES = 1_000
"""Newest values that a model is fitted to."""

_MAX_SEASON = 24
"""Longest season that ETS can have."""

_MIN_VALUES = 10

_MODELS = {"ETS": "AutoETS", "Theta": "AutoTheta"}


class SeriesForecasts(NamedTuple):
    """A series, and where it is forecast from."""

    values_V: Floats
    """Without gaps."""
    ends_R: Integers
    """Index of the last known value of each forecast, ascending."""


def find_version() -> str | None:
    """Return the version of statsforecast; None where it is not installed."""
    try:
        return version("statsforecast")
    except PackageNotFoundError:
        return None


def describe_excess(series: int, forecasts: int) -> str | None:
    """Describe why there are too many forecasts for these models; None where there are not."""
    if series <= MAX_SERIES and forecasts <= MAX_FORECASTS:
        return None
    return (
        f"no ETS and Theta baselines: {forecasts} test windows of {series} series, and they are "
        f"fitted for up to {MAX_FORECASTS} of {MAX_SERIES}"
    )


def forecast_by_smoothing(
    series: Sequence[SeriesForecasts], *, horizon: int, season: int
) -> Mapping[str, list[Floats]]:
    """Forecast each series by each model, [R, T] each, by the model's name.

    A series that is too short for a model, or that it cannot be fitted to, is forecast by its last
    value.

    Args:
        series: what to forecast.
        horizon: steps ahead.
        season: steps of a season; of no use to ETS where it is longer than 24.

    Raises:
        ImportError: statsforecast is not installed, or does not fit the other packages.
    """
    models = importlib.import_module("statsforecast.models")
    length = season if season <= _MAX_SEASON else 1
    return {
        name: [
            _forecast(getattr(models, model)(season_length=length), each, horizon)
            for each in series
        ]
        for name, model in _MODELS.items()
    }


def _forecast(model: Any, series: SeriesForecasts, horizon: int) -> Floats:  # noqa: ANN401 - of a package that may be missing
    """Forecast one series by a model that is not fitted yet, [R, T]."""
    values_V, ends_R = series
    naive_RT = np.repeat(values_V[ends_R][:, None], horizon, axis=1)
    first = int(ends_R[0]) + 1
    if first < max(_MIN_VALUES, 2 * model.season_length + 1):
        return naive_RT
    try:
        found_RT = _fit_and_forward(model, series, horizon, start=max(0, first - _MAX_VALUES))
    except Exception as error:  # noqa: BLE001 - "no model able to be fitted" is of no other kind
        logger.warning("%s cannot be fitted to a series: %s", model, error)
        return naive_RT
    return np.asarray(np.where(np.isfinite(found_RT), found_RT, naive_RT))


def _fit_and_forward(model: Any, series: SeriesForecasts, horizon: int, *, start: int) -> Floats:  # noqa: ANN401 - see above
    """Fit a model up to the first forecast, and move it on to the others, [R, T]."""
    values_V, ends_R = series
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(y=values_V[start : int(ends_R[0]) + 1])
        return np.stack(
            [
                model.forward(y=values_V[start : end + 1], h=horizon)["mean"]
                for end in ends_R.tolist()
            ]
        )
