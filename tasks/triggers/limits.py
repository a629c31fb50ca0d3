"""When a job may start automatically, and the limits on it; in doubt no run is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Literal, NamedTuple

from models.units import Duration

_MAX_ATTEMPTS = 3
"""Runs started for the same reason, if each of them crashed."""

ACTIVE_STATES = {"SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggersConfig:
    """What starts a job besides its schedule, and how often at most."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    new_data: Duration | None = None
    """How often the source is checked for changes since the last run, such as `10m`; by default
    never."""
    drift: Duration | None = None
    """How often today's rows are compared with the champion's training rows, such as `1d`; by
    default never."""
    drift_severity: Literal["small", "large"] = "large"
    """Least drift of a column that triggers a run."""
    performance: Duration | None = None
    """How often the champion's score on rows newer than its training, whose targets are known by
    now, is compared with its score at registration, such as `1d`; by default never."""
    min_performance_drop: float = 0.0
    """Least drop of the score that triggers a run, in the unit of the gate's metric: the lower
    bound of the drop's confidence interval has to exceed it."""
    cooldown: Duration = 3600.0
    """Least time from any run to the next automatic one."""
    max_runs_per_day: int = 6
    """Most automatic runs in 24 hours; scheduled runs are not counted."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: which key, and its range.
        """
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
                "new_data, drift, performance: none is given; give one, or remove triggers"
            )

    @property
    def monitor_interval_seconds(self) -> float | None:
        """Seconds between two checks of drift or performance; None if neither is monitored."""
        return min((each for each in (self.drift, self.performance) if each), default=None)


class PreviousRun(NamedTuple):
    """An earlier run of the job, however it was started."""

    key: str | None
    """Identifies the reason of an automatic run; None for others."""
    started_at: datetime
    state: str


def find_blocking_reason(
    key: str, previous_runs: Sequence[PreviousRun], now: datetime, config: TriggersConfig
) -> str | None:
    """Return why no run may start now, or None if one may.

    Args:
        key: identifies the reason; the same reason starts one run only, unless it crashed.
        previous_runs: the job's runs of the last days, in any order.
        now: the current time, with a time zone.
        config: the limits.
    """
    same = [run for run in previous_runs if run.key == key]
    done = [run for run in same if run.state != "CRASHED"]
    if done:
        return f"a run for the same reason is {done[0].state.lower()}"
    if len(same) >= _MAX_ATTEMPTS:
        return f"{len(same)} runs for it crashed; fix the cause, then start one by hand"
    if any(run.state in ACTIVE_STATES for run in previous_runs):
        return "a run of this job is active"
    latest = max((run.started_at for run in previous_runs), default=None)
    if latest is not None and (end := latest + timedelta(seconds=config.cooldown)) > now:
        return f"the cooldown lasts until {end:%Y-%m-%d %H:%M} UTC"
    today = [run for run in previous_runs if run.key and run.started_at > now - timedelta(days=1)]
    if len(today) >= config.max_runs_per_day:
        return f"{len(today)} automatic runs in 24 hours, as many as max_runs_per_day allows"
    return None
