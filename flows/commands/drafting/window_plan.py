"""Choose look-back, horizon and season of the windows of a long table."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.commands.drafting.draft import DraftOptions, JobDraft
from flows.commands.drafting.season import (
    Season,
    fill_missing,
    find_season,
    list_calendar_seasons,
)
from flows.commands.drafting.window_trials import choose_window
from models.features.series.scaler import MIN_STEPS
from models.features.splitting.column_split import parse_split_names
from models.features.splitting.split import TEST, TRAINING, SplitConfig
from tasks.errors import DataError

_LOOKBACK = 28
"""Look-back of a series without a season."""

_MAX_LOOKBACK = 400
"""Longest look-back that is drafted: a recurrent network takes its steps one after another."""

_MAX_HORIZON = 24
"""Longest horizon that is drafted by a season."""

_LONGEST_TEST_HORIZON = 96
"""Steps of a given test part up to which it is forecast as a whole."""

_LONGEST_SEASON_READ = 200
"""Steps of a season above which the calendar tells it rather than the look-back."""

_CALENDAR_PARTS = {"hour": "minute", "day": "hour", "week": "weekday, hour", "year": "day_of_year"}

_MIN_LOOKBACK = 12
"""Shortest look-back that is tried."""

_MANY_SERIES, _MANY_SERIES_SHARE = 10, 4
"""Series from which on a look-back may take up to this part of one: the others have windows too."""

_SMALL_TABLE_SHARE, _SMALL_LOOKBACK = 6, 60
"""A look-back of a few steps may take up to this part of a series, rather than a tenth."""


class _SeriesFacts(NamedTuple):
    """What the window depends on."""

    values: list[NDArray[np.float64]]
    """The training values of each series, oldest first; empty where the target is a class."""
    seasons: dict[int, str]
    """Seasons that the calendar suggests."""
    steps: int
    """Median steps of a series."""
    points: int
    """Distinct points in time."""
    rows: int
    test_steps: int | None
    """Fewest steps of a series in a given test split."""
    test_rows: int


def plan_window(draft: JobDraft, frame: pl.DataFrame, options: DraftOptions) -> int:
    """Set the window, the season and the shares of the split; return the number of test rows.

    Args:
        draft: with the roles of the columns.
        frame: the whole table, with times and numbers parsed.
        options: horizon and season, where they are told.

    Raises:
        DataError: the horizon does not fit into the test split.
    """
    facts = _measure_series(draft, frame)
    season = _choose_season(facts, options)
    steps = season.steps if season else 1
    draft.season = steps
    draft.horizon, why = _choose_horizon(draft, facts, options, season=steps)
    draft.lookback, how = _choose_lookback(facts, season=steps, horizon=draft.horizon)
    if draft.target_kind == "forecast":
        how = _try_windows(draft, facts, why=how)
    how = how if draft.target_kind == "forecast" else f"at most {_LOOKBACK} steps by default"
    draft.comments["window"] = f"lookback: {how}; horizon: {why}"
    if season:
        draft.comments["gate"] = f"{season.reason}; the seasonal naive forecast is a baseline"
    if season and season.name and steps > _LONGEST_SEASON_READ:
        draft.input_options["calendar"] = f"[{_CALENDAR_PARTS[season.name]}]"
        draft.comments["inputs"] += f"; the calendar tells the season of a {season.name}"
    _widen_validation(draft, facts)
    return facts.test_rows


def _measure_series(draft: JobDraft, frame: pl.DataFrame) -> _SeriesFacts:
    """Measure what the window depends on; the season on the training part alone."""
    time, entity, split = draft.time or "", draft.entity, draft.split
    ordered = frame.sort([*([entity] if entity else []), time])
    lengths = ordered.group_by(entity).len()["len"] if entity else pl.Series([len(ordered)])
    points = ordered[time].unique().sort()
    config = SplitConfig()
    first_test = points[min(len(points) - 1, int(len(points) * (1 - config.test)))]
    if split:
        codes = parse_split_names(ordered[split])
        training, test = ordered.filter(codes == TRAINING), ordered.filter(codes == TEST)
    else:
        first = points[
            min(len(points) - 1, int(len(points) * (1 - config.test - config.validation)))
        ]
        training = ordered.filter(pl.col(time) < first)
        test = ordered.filter(pl.col(time) >= first_test)
    test_lengths = test.group_by(entity).len()["len"] if entity else pl.Series([len(test)])
    series = training.partition_by(entity, maintain_order=True) if entity else [training]
    longest = max(series, key=len, default=training)
    has_dates = ordered[time].dtype.is_temporal()
    seasons = list_calendar_seasons(longest[time]) if has_dates and len(longest) > 2 else {}
    is_number = draft.target_kind == "forecast"
    return _SeriesFacts(
        values=[
            each[name].cast(pl.Float64).to_numpy()
            for each in series
            for name in draft.target_columns
            if is_number
        ],
        seasons=seasons,
        steps=int(_median(lengths)),
        points=len(points),
        rows=len(ordered),
        test_steps=int(_median(test_lengths)) if split and len(test) else None,
        test_rows=len(test),
    )


def _choose_season(facts: _SeriesFacts, options: DraftOptions) -> Season | None:
    """Return the given season, else the one that is found; None for none."""
    if options.season is not None:
        return Season(options.season, "given by --season") if options.season > 1 else None
    return find_season(facts.values, facts.seasons) if facts.values else None


def _choose_horizon(
    draft: JobDraft, facts: _SeriesFacts, options: DraftOptions, *, season: int
) -> tuple[int, str]:
    """Return the horizon, and why.

    Raises:
        DataError: the given horizon does not fit into the test split.
    """
    room = facts.test_steps or max(1, int(facts.points * SplitConfig().test) - 1)
    if options.horizon:
        if options.horizon > room:
            raise DataError.of(
                f"--horizon: {options.horizon} steps do not fit into the test split",
                found=f"{room} steps",
                hint="give a shorter horizon, or more data",
            )
        return options.horizon, "given by --horizon"
    if draft.target_kind != "forecast":
        return 1, "the class of the next step"
    if facts.test_steps and facts.test_steps <= _LONGEST_TEST_HORIZON:
        return facts.test_steps, "the test part of a series"
    horizon = min(season, _MAX_HORIZON, max(1, room // 2))
    why = "one season" if horizon == season else f"at most {horizon} by default"
    return horizon, "the next step, as no season was found" if season == 1 else why


def _choose_lookback(facts: _SeriesFacts, *, season: int, horizon: int) -> tuple[int, str]:
    """Return the look-back, and why."""
    is_read = 1 < season <= _LONGEST_SEASON_READ
    wished = max(2 * season if is_read else _LOOKBACK, 2 * horizon)
    bound = max(facts.steps // 10, min(facts.steps // _SMALL_TABLE_SHARE, _SMALL_LOOKBACK), 2)
    lookback = min(wished, bound, _MAX_LOOKBACK)
    if lookback < wished:
        return lookback, f"bounded by the {facts.steps} steps of a series"
    if is_read and wished == 2 * season:
        return lookback, "two seasons"
    if wished == 2 * horizon:
        return lookback, "two horizons"
    too_long = f"a season of {season} steps is too long to be read step by step"
    return lookback, too_long if season > 1 else "no season was found"


def _try_windows(draft: JobDraft, facts: _SeriesFacts, *, why: str) -> str:
    """Set look-back and scaler by what a linear model forecasts best.

    Only the past of the target is tried.

    Returns:
        The reason of the look-back; `why` where it stays.
    """
    horizon, season, default = draft.horizon or 1, draft.season, draft.lookback or 1
    series = [fill_missing(each) for each in facts.values if np.isfinite(each).sum() > 1]
    share = _MANY_SERIES_SHARE if len(series) >= _MANY_SERIES else _SMALL_TABLE_SHARE
    bound = min(max(facts.steps // share, default), _MAX_LOOKBACK)
    # A window needs all its steps: no series that has windows of the default should lose them.
    shortest = min((len(each) for each in series if len(each) > default), default=0)
    bound = min(bound, max(default, shortest - horizon - MIN_STEPS))
    lengths = {count * horizon for count in (2, 4, 8)} | {_LOOKBACK}
    if 1 < season <= _LONGEST_SEASON_READ:
        lengths = {count * season for count in (1, 2, 4)}
    tried = [default, *sorted(each for each in lengths if _MIN_LOOKBACK <= each <= bound)]
    choice = choose_window(series, tried, horizon=horizon, season=season) if series else None
    if choice is None:
        return why
    if choice.is_log:
        draft.input_options["scaler"] = "log"
        draft.comments["inputs"] += "; logarithms, as changes grow with the level"
    if choice.lookback == default:
        return why
    draft.lookback = choice.lookback
    return f"best of {min(tried)} to {max(tried)} steps at four origins of a linear forecast"


def _widen_validation(draft: JobDraft, facts: _SeriesFacts) -> None:
    """Give validation a larger share where a tenth of the time has hardly a window."""
    config, horizon = SplitConfig(), draft.horizon or 1
    if draft.split or facts.points * config.validation >= 2 * horizon + 2:
        return
    draft.shares["validation"] = config.test
    draft.comments["split"] = (
        f"a tenth of the {facts.points} points in time has few windows with a horizon of {horizon}"
    )


def _median(lengths: pl.Series) -> float:
    """Return the median of lengths; 0 without any."""
    median = lengths.median()
    return float(median) if isinstance(median, int | float) else 0.0
