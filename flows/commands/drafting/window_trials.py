"""Choose the look-back, and whether logarithms are read, by forecasts of a pooled linear model.

For each candidate a ridge regression from the look-back to the next steps, both less the last
value, is fitted on windows of all series together and forecasts the windows after them, at four
rolling origins within the training part. Errors are in standard deviations of each series. A longer
look-back than the first candidate is taken where it is better by more than a standard error over
the origins and by 2 %, a shorter one where it is better at all: what is read step by step should be
no longer than it pays. Logarithms are taken where they are better by more than a standard error, or
where the spread of seasons grows with their level.

Shapes: W windows, L steps of look-back, T steps ahead, P penalties.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_ORIGINS = 4

_BLOCK_SHARE = 0.08
"""Share of a series' windows that are forecast from each origin."""

_MAX_TRAINING_WINDOWS, _MAX_TEST_WINDOWS = 6_000, 1_500
"""Windows of all series together, at each origin."""

_MIN_TRAINING_WINDOWS = 20

_PENALTIES = (1e-4, 1e-2, 1.0)
"""Relative to the mean variance of the inputs."""

_MIN_RATIO = 2.0
"""Highest over lowest value of a series below which a logarithm is nearly a straight line."""


_MIN_SEASONS, _GUERRERO_GAIN = 4, 0.7
"""Seasons by which growing spreads are recognized, and how much less their ratios must vary."""


_LONGER_GAIN = 0.02
"""Share of the error that a longer look-back saves at least."""


class WindowChoice(NamedTuple):
    """What windows read."""

    lookback: int
    is_log: bool
    """Whether the logarithms of the values are read and forecast."""


class _Windows(NamedTuple):
    """Windows of some series, each by the positions of its values."""

    values_N: Floats
    """Of all series, each after so many copies of its first value as the longest look-back."""
    spread_N: Floats
    """Standard deviation of the series of each value."""
    horizon: int


class _Block(NamedTuple):
    """Positions of the last steps of the windows of one origin."""

    training_W: Indices
    test_W: Indices


def choose_window(
    series: Sequence[Floats], lookbacks: Sequence[int], *, horizon: int, season: int = 1
) -> WindowChoice | None:
    """Choose among look-backs, and between values and logarithms; None with too few windows.

    Args:
        series: the values of each, oldest first, without gaps.
        lookbacks: candidates; the first is taken without evidence for another.
        horizon: steps that are forecast.
        season: steps of a season; 1 for none.
    """
    usable = [each for each in series if len(each) > horizon + 1]
    blocks = _cut_blocks([len(each) for each in usable], horizon, padding=max(lookbacks))
    if not blocks:
        return None
    windows = _join(usable, horizon, padding=max(lookbacks))
    errors = {each: _measure(windows, blocks, each, is_log=False) for each in lookbacks}
    best = lookbacks[0]
    for lookback in sorted(set(lookbacks) - {best}):
        gain, error = _compare(errors[lookback], errors[best])
        if gain > (max(error, _LONGER_GAIN) if lookback > best else 0.0):
            best = lookback
    if not _can_be_log(usable):
        return WindowChoice(best, is_log=False)
    gain, error = _compare(_measure(windows, blocks, best, is_log=True), errors[best])
    grows = season > 1 and all(_grows_with_level(each, season) for each in usable)
    return WindowChoice(best, is_log=gain > error or (grows and gain > -error))


def _can_be_log(series: Sequence[Floats]) -> bool:
    """Check whether all values are above 0, and change by more than a small share."""
    if any(float(each.min()) <= 0 for each in series):
        return False
    return float(np.median([each.max() / each.min() for each in series])) >= _MIN_RATIO


def _grows_with_level(values: Floats, season: int) -> bool:
    """Check whether the spread within a season grows with its level, rather than being constant.

    By Guerrero (1993): of the ratios of spread to level ^ (1 - lambda) over the seasons, those of
    the better power vary less; 0, the logarithm, has to be clearly better than 1.
    """
    count = len(values) // season
    if count < _MIN_SEASONS:
        return False
    seasons = values[len(values) - count * season :].reshape(count, season)
    level, spread = seasons.mean(axis=1), seasons.std(axis=1, ddof=1)
    shares = spread / level
    return bool(_vary(shares) < _GUERRERO_GAIN * _vary(spread))


def _vary(values: Floats) -> float:
    """Return the coefficient of variation."""
    return float(values.std(ddof=1) / max(float(values.mean()), 1e-12))


def _join(series: Sequence[Floats], horizon: int, *, padding: int) -> _Windows:
    """Put the series one after the other, each after copies of its first value."""
    values = [np.concatenate([np.full(padding, each[0]), each]) for each in series]
    spreads = [np.full(len(each), max(float(each.std()), 1e-12)) for each in series]
    spreads = [np.concatenate([np.full(padding, each[0]), each]) for each in spreads]
    return _Windows(np.concatenate(values), np.concatenate(spreads), horizon)


def _cut_blocks(lengths: Sequence[int], horizon: int, *, padding: int) -> list[_Block]:
    """Cut the last windows of each series into blocks, each with the windows before it.

    Between the last step of a block's training windows and its first test window lies a horizon.
    """
    blocks = []
    for origin in range(_ORIGINS, 0, -1):
        training, test, offset = [], [], 0
        for length in lengths:
            first, count = offset + padding, length - horizon
            size = max(1, int(count * _BLOCK_SHARE))
            start = count - origin * size
            offset += padding + length
            training.append(first + np.arange(max(0, start - horizon)))
            test.append(first + np.arange(max(0, start), start + size))
        training_W, test_W = np.concatenate(training), np.concatenate(test)
        if len(training_W) < _MIN_TRAINING_WINDOWS or not len(test_W):
            return []
        blocks.append(
            _Block(
                _take_evenly(training_W, _MAX_TRAINING_WINDOWS),
                _take_evenly(test_W, _MAX_TEST_WINDOWS),
            )
        )
    return blocks


def _take_evenly(positions: Indices, count: int) -> Indices:
    """Return at most so many positions, evenly spread."""
    if len(positions) <= count:
        return positions
    return positions[np.linspace(0, len(positions) - 1, count).round().astype(np.int64)]


def _measure(windows: _Windows, blocks: Sequence[_Block], lookback: int, *, is_log: bool) -> Floats:
    """Return the mean error at each origin, of the penalty that is best over all of them."""
    errors_OP = np.array([_forecast(windows, each, lookback, is_log=is_log) for each in blocks])
    return np.asarray(errors_OP[:, int(np.log(np.maximum(errors_OP, 1e-12)).mean(axis=0).argmin())])


def _forecast(windows: _Windows, block: _Block, lookback: int, *, is_log: bool) -> list[float]:
    """Return the mean absolute error of a block's forecasts by each penalty."""
    units_N = np.log(windows.values_N) if is_log else windows.values_N
    # Logarithms compare as they are; values are in standard deviations of their series.
    scale_N = np.ones_like(units_N) if is_log else windows.spread_N
    past_L, ahead_T = np.arange(1 - lookback, 1), np.arange(1, windows.horizon + 1)

    def read(ends_W: Indices, steps: Indices) -> Floats:
        moved = units_N[ends_W[:, None] + steps] - units_N[ends_W, None]
        return np.asarray(moved / scale_N[ends_W, None])

    x_WL, y_WT = read(block.training_W, past_L), read(block.training_W, ahead_T)
    mean_L, mean_T = x_WL.mean(axis=0), y_WT.mean(axis=0)
    x_WL, y_WT = x_WL - mean_L, y_WT - mean_T
    gram_LL, moment_LT = x_WL.T @ x_WL, x_WL.T @ y_WT
    unit = max(float(np.trace(gram_LL)) / len(gram_LL), 1e-12)
    test_WL = read(block.test_W, past_L) - mean_L
    errors = []
    for penalty in _PENALTIES:
        weight_LT = np.linalg.solve(gram_LL + penalty * unit * np.eye(lookback), moment_LT)
        forecast_WT = (test_WL @ weight_LT + mean_T) * scale_N[block.test_W, None]
        forecast_WT += units_N[block.test_W, None]
        if is_log:
            forecast_WT = np.exp(np.minimum(forecast_WT, units_N.max() + 3))
        error_WT = np.abs(windows.values_N[block.test_W[:, None] + ahead_T] - forecast_WT)
        errors.append(float((error_WT / windows.spread_N[block.test_W, None]).mean()))
    return errors


def _compare(errors: Floats, reference: Floats) -> tuple[float, float]:
    """Return by how much errors are lower, as a mean log ratio, and its standard error."""
    gain = np.log(np.maximum(reference, 1e-12)) - np.log(np.maximum(errors, 1e-12))
    return float(gain.mean()), float(gain.std(ddof=1) / math.sqrt(len(gain)))
