"""What windows read: the look-back and the unit by which a linear model forecasts best."""

import numpy as np

from flows.commands.drafting.window_trials import choose_window


def draw_walk(count: int, seed: int, *, step: float = 0.03) -> np.ndarray:
    return 100 * np.exp(np.random.default_rng(seed).normal(0, step, count).cumsum())


def test_a_longer_look_back_is_taken_where_the_past_repeats_after_it() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (8, 300))
    once = np.random.default_rng(1).normal(0, 1.0, (8, 40))
    series = [np.resize(cycle, 300) + extra for cycle, extra in zip(once, noise, strict=True)]

    choice = choose_window(series, [12, 40, 80], horizon=4)

    assert choice is not None
    assert choice.lookback >= 40


def test_a_random_walk_keeps_a_short_look_back() -> None:
    choice = choose_window([draw_walk(250, seed) for seed in range(6)], [28, 14, 100], horizon=5)

    assert choice is not None
    assert choice.lookback <= 28


def test_logarithms_are_taken_where_the_season_grows_with_the_level() -> None:
    steps = np.arange(120)
    level = 100 * np.exp(0.02 * steps)
    noise = np.random.default_rng(2).normal(0, 0.02, 120)
    growing = level * (1 + 0.3 * np.sin(steps * 2 * np.pi / 12) + noise)
    steady = 500 + level[0] * (np.sin(steps * 2 * np.pi / 12) + noise)

    log = choose_window([growing], [24, 12], horizon=12, season=12)
    plain = choose_window([steady], [24, 12], horizon=12, season=12)

    assert log is not None
    assert log.is_log
    assert plain is not None
    assert not plain.is_log


def test_no_logarithm_is_taken_of_a_series_that_reaches_zero() -> None:
    steps = np.arange(120)
    growing = 100 * np.exp(0.02 * steps) * (1 + 0.3 * np.sin(steps * 2 * np.pi / 12))

    choice = choose_window([np.append(0.0, growing)], [24, 12], horizon=12, season=12)

    assert choice is not None
    assert not choice.is_log


def test_too_few_windows_choose_nothing() -> None:
    assert choose_window([np.arange(1.0, 20.0)], [4, 8], horizon=3) is None
