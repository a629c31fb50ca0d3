"""When a job may start by itself, and what holds it back. Every doubt keeps it still."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Literal, NamedTuple

from models.units import Duration

ATTEMPTS = 3
"""Runs that the same reason may start, where each of them crashed."""

AT_WORK = {"SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggersConfig:
    """What starts a job besides its schedule, and how often at most."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    new_data: Duration | None = None
    """How often one looks whether the source has changed since the last run, such as `10m`; never
    when left out."""
    drift: Duration | None = None
    """How often today's rows are compared with those that the champion learned from, such as `1d`;
    never when left out."""
    drift_severity: Literal["small", "large"] = "large"
    """The least shift of a column that counts."""
    performance: Duration | None = None
    """How often the champion's answers to rows that came after its training, and whose truth is
    known by now, are compared with the score that it was registered with, such as `1d`; never when
    left out."""
    min_performance_drop: float = 0.0
    """How far the score has to have fallen beyond doubt, in the unit of the gate's metric."""
    cooldown: Duration = 3600.0
    """Least time from one run to the next that starts by itself, whatever started the first."""
    max_runs_per_day: int = 6
    """Most runs of 24 hours that start by themselves; those of the schedule are not counted."""

    def __post_init__(self) -> None:
        """Refuse what would never look, or never rest."""
        for name in ("new_data", "drift", "performance"):
            every = getattr(self, name)
            if every is not None and every < 60:
                raise ValueError(f"{name}: {every:g} s is too often; give at least 1m")
        if self.max_runs_per_day < 1:
            raise ValueError(
                f"max_runs_per_day: {self.max_runs_per_day} starts nothing; give at least 1"
            )
        if self.cooldown < 0:
            raise ValueError(f"cooldown: {self.cooldown:g} is below 0")
        if not self.min_performance_drop >= 0:
            raise ValueError(f"min_performance_drop: {self.min_performance_drop:g} is below 0")
        if not (self.new_data or self.drift or self.performance):
            raise ValueError(
                "new_data, drift, quality: none is looked at; give one, or remove triggers"
            )

    @property
    def monitored(self) -> float | None:
        """Seconds from one look at drift or quality to the next."""
        return min((each for each in (self.drift, self.performance) if each), default=None)


class Past(NamedTuple):
    """A run of the job that was started, by whatever."""

    key: str | None
    """What it answers, where it started by itself."""
    began: datetime
    state: str


def hold_back(key: str, past: Sequence[Past], now: datetime, config: TriggersConfig) -> str | None:
    """Say why no run may start now; None lets it.

    Args:
        key: what it would answer; the same is answered once, unless the run crashed.
        past: the job's runs of the last days, in any order.
        now: with a zone.
        config: the brakes.
    """
    same = [run for run in past if run.key == key]
    done = [run for run in same if run.state != "CRASHED"]
    if done:
        return f"it is answered already, by a run that is {done[0].state.lower()}"
    if len(same) >= ATTEMPTS:
        return f"{len(same)} runs crashed over it; start one by hand when that is mended"
    if any(run.state in AT_WORK for run in past):
        return "a run of this job is under way"
    latest = max((run.began for run in past), default=None)
    if latest is not None and (rest := latest + timedelta(seconds=config.cooldown)) > now:
        return f"it cools down until {rest:%Y-%m-%d %H:%M} UTC"
    today = [run for run in past if run.key and run.began > now - timedelta(days=1)]
    if len(today) >= config.max_runs_per_day:
        return f"{len(today)} runs started by themselves in 24 hours, as many as max_runs_per_day allows"
    return None
