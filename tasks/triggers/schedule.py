"""Cron schedules of a job's flows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """When the job runs automatically, while `ostinato ui` or a worker is up."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    cron: str
    """Minute, hour, day, month, weekday: "0 3 * * *" is every night at three."""
    timezone: str = "UTC"
    """Name in the IANA database, such as Europe/Vienna."""

    def __post_init__(self) -> None:
        """Check the cron expression and the time zone.

        Raises:
            ValueError: one of them is invalid.
        """
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        from cronsim import CronSim, CronSimError

        if len(self.cron.split()) != 5:
            raise ValueError(f"cron: '{self.cron}' does not have five fields, such as '0 3 * * *'")
        try:
            next(CronSim(self.cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(
                f"cron: '{self.cron}' is no schedule ({error}); write it as '0 3 * * *'"
            ) from error
        except StopIteration:
            raise ValueError(f"cron: '{self.cron}' is never; no month has that day") from None
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone: '{self.timezone}' is not known; write it as Europe/Vienna"
            ) from error
