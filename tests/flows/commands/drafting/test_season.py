"""A season is found where a series repeats, and not where it only wanders."""

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from flows.commands.drafting.season import find_season, list_calendar_seasons


@pytest.mark.parametrize("seed", range(5))
def test_a_random_walk_has_no_season(seed: int) -> None:
    walk = np.random.default_rng(seed).normal(size=500).cumsum()

    assert find_season([walk], {7: "week", 365: "year"}) is None


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_a_few_values_has_no_season(seed: int) -> None:
    assert find_season([np.random.default_rng(seed).normal(size=60)], {12: "year"}) is None


def test_a_trend_hides_no_season() -> None:
    steps = np.arange(100)

    found = find_season([steps * 5 + 10 * np.sin(2 * np.pi * steps / 12)], {12: "year"})

    assert found is not None
    assert found.steps == 12


def test_a_week_is_preferred_to_a_day_only_where_it_repeats_better() -> None:
    hours = np.arange(24 * 70)
    day = np.sin(2 * np.pi * hours / 24)
    weekend = (hours // 24 % 7 > 4) * 3.0
    candidates = {24: "day", 168: "week"}

    only_day, both = find_season([day], candidates), find_season([day + weekend], candidates)

    assert only_day is not None
    assert both is not None
    assert (only_day.steps, both.steps) == (24, 168)


def test_missing_values_hide_no_season() -> None:
    steps = np.arange(120)
    values = np.where(steps % 10 == 3, np.nan, np.sin(2 * np.pi * steps / 12))

    found = find_season([values], {12: "year"})

    assert found is not None
    assert found.steps == 12


def test_steps_without_a_calendar_are_searched() -> None:
    steps = np.arange(400)
    noise = np.random.default_rng(0).normal(size=400)

    found = find_season([np.sin(2 * np.pi * steps / 17) * 5 + noise], {})

    assert found is not None
    assert found.steps == 17


@pytest.mark.parametrize(
    ("step", "seasons"),
    [("1h", {24, 168}), ("30m", {48, 336}), ("1d", {7, 365}), ("1w", {52}), ("1mo", {12}),
     ("1q", {4}), ("1y", set())],
)  # fmt: skip
def test_the_calendar_suggests_seasons(step: str, seasons: set[int]) -> None:
    start, stop = datetime(2020, 1, 1), datetime(2022, 1, 1)  # noqa: DTZ001 - as in a table
    times = pl.datetime_range(start, stop, step, eager=True)

    assert set(list_calendar_seasons(times)) == seasons


def test_days_of_business_have_weeks_of_five() -> None:
    days = pl.date_range(date(2020, 1, 1), date(2020, 6, 1), eager=True)

    assert set(list_calendar_seasons(days.filter(days.dt.weekday() <= 5))) == {5, 260}
