"""Backfill: the runs of a schedule between two dates, each as of its own time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flows.job.job import Job, load_job
from flows.retrain import retrain
from flows.runtime.run_context import run_context
from tasks.errors import JobError
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Outcome
from tasks.storage.store import open_store


def list_times(job: Job, start: datetime, stop: datetime, *, every: float | None) -> list[datetime]:
    """List the times from `start` to `stop`, both included, oldest first.

    Args:
        job: its schedule gives the times where `every` is None.
        start: earliest time, with a zone.
        stop: latest time, with a zone.
        every: seconds between two times; a day where it is None and there is no schedule.

    Raises:
        JobError: there are no times, or the source has no column of time.
    """
    if job.source.watermark_column is None:
        raise JobError.of(
            f"job '{job.name}' cannot be run as of a time: its source has no time",
            hint="set source.time or source.watermark to the column with the time of a row",
        )
    if job.schedule and every is None:
        times = list(_list_scheduled_times(job, start, stop))
    else:
        step = timedelta(seconds=every or 86_400)
        count = int((stop - start) / step) + 1 if stop >= start else 0
        times = [start + index * step for index in range(count)]
    if not times:
        raise JobError.of(
            f"there is no scheduled time from {start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M}",
            hint="give --from a time before --to",
        )
    return times


def backfill(
    path: Path,
    start: datetime,
    stop: datetime,
    *,
    every: float | None,
    overrides: dict[str, Any],
) -> Iterator[tuple[datetime, Outcome]]:
    """Retrain as of each time and yield its outcome; finished stages are reused.

    Raises:
        OstinatoError: of the first run that fails; run again to continue from there.
    """
    job = load_job(path, overrides)
    times = list_times(job, start, stop, every=every)
    _check_time_column(job)
    for moment in times:
        with run_context(job.name):
            outcome = retrain(str(path), overrides, moment)
        yield moment, outcome


def _list_scheduled_times(job: Job, start: datetime, stop: datetime) -> Iterator[datetime]:
    """Yield the times of the job's own schedule, in UTC."""
    from cronsim import CronSim

    assert job.schedule is not None  # noqa: S101 - checked by the caller
    zone = ZoneInfo(job.schedule.timezone)
    for moment in CronSim(job.schedule.cron, start.astimezone(zone) - timedelta(seconds=1)):
        if moment > stop:
            return
        yield moment.astimezone(UTC)


def _check_time_column(job: Job) -> None:
    """Check that the source can be read as of an earlier time.

    Raises:
        JobError: its column of time has no dates.
    """
    snapshot = take_snapshot(job.source, open_store(job.store), remember=False)
    schema = snapshot.facts.schema
    names = [name for name in (job.source.watermark, job.source.time) if name]
    if not any(str(schema.get(name, "")).startswith("Date") for name in names):
        columns = ", ".join(f"{name} ({schema.get(name, 'missing')})" for name in names)
        raise JobError.of(
            f"job '{job.name}' cannot be run as of a time: none of its columns of time has dates",
            found=columns,
            hint="set source.time to a column of dates or times",
        )
