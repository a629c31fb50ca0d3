"""Small sources with a time column, and the rows of their snapshots."""

import datetime as dt

import polars as pl

from tasks.dataset.rowset import open_snapshot
from tasks.records import Snapshot
from tasks.storage.store import Store

DAY = dt.timedelta(days=1)

START = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - without a zone, as in most sources


def make_noon(day: int) -> dt.datetime:
    return dt.datetime(2024, 1, day, 12, tzinfo=dt.UTC)


def make_daily_rows(first: int, last: int) -> pl.DataFrame:
    times = [START + index * DAY for index in range(first - 1, last)]
    return pl.DataFrame({"at": times, "x": [float(t.day) for t in times]})


def read_snapshot(snapshot: Snapshot, store: Store) -> pl.DataFrame:
    return open_snapshot(store, snapshot).scan().collect()
