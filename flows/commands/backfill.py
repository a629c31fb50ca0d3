"""Backfill: the runs that a schedule would have made between two dates, each as of its time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flows.job.job import Job, load_job
from flows.retrain import retrain
from flows.runtime.run_context import at_work
from tasks.errors import JobError
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Outcome
from tasks.storage.store import open_store


def moments(job: Job, start: datetime, stop: datetime, *, every: float | None) -> list[datetime]:
    """List the times from `start` to `stop`, both included, oldest first.

    Args:
        job: whose schedule tells them, where `every` does not.
        start: with a zone.
        stop: with a zone.
        every: seconds between them; without it and without a schedule, a day.

    Raises:
        JobError: there are none, or the source has no time to cut by.
    """
    if job.source.order is None:
        raise JobError.of(
            f"job '{job.name}' cannot be run as of a time: its source has none",
            mend="set source.time or source.watermark to the column that tells when a row came",
        )
    if job.schedule and every is None:
        found = list(scheduled(job, start, stop))
    else:
        step = timedelta(seconds=every or 86_400)
        count = int((stop - start) / step) + 1 if stop >= start else 0
        found = [start + place * step for place in range(count)]
    if not found:
        raise JobError.of(
            f"there is nothing to run from {start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M}",
            mend="give --from a time before --to",
        )
    return found


def scheduled(job: Job, start: datetime, stop: datetime) -> Iterator[datetime]:
    """Give the times of the job's own schedule."""
    from cronsim import CronSim

    assert job.schedule is not None  # noqa: S101 - asked by the caller
    zone = ZoneInfo(job.schedule.timezone)
    for moment in CronSim(job.schedule.cron, start.astimezone(zone) - timedelta(seconds=1)):
        if moment > stop:
            return
        yield moment.astimezone(UTC)


def refuse_timeless(job: Job) -> None:
    """Refuse a source of which no run could see the past.

    Raises:
        JobError: its column of time holds no dates.
    """
    snapshot = take_snapshot(job.source, open_store(job.store), remember=False)
    schema = snapshot.facts["schema"]
    names = [name for name in (job.source.watermark, job.source.time) if name]
    if not any(str(schema.get(name, "")).startswith("Date") for name in names):
        told = ", ".join(f"{name} ({schema.get(name, 'missing')})" for name in names)
        raise JobError.of(
            f"job '{job.name}' cannot be run as of a time: no column of it holds dates",
            found=told,
            mend="set source.time to a column of dates or times",
        )


def backfill(
    path: Path,
    start: datetime,
    stop: datetime,
    *,
    every: float | None,
    overrides: dict[str, Any],
) -> Iterator[tuple[datetime, Outcome]]:
    """Retrain as of each time; what is done already is not done again.

    Raises:
        OstinatoError: the first run that fails; run again to go on from there.
    """
    job = load_job(path, overrides)
    found = moments(job, start, stop, every=every)
    refuse_timeless(job)
    for moment in found:
        with at_work(job.name):
            outcome = retrain(str(path), overrides, moment)
        yield moment, outcome
