"""Whether a source has changed since the job's last finished run, told without reading its rows.

Files are known by their size and time (one that was written again by its hash), tables by their
version, or by the count of their rows and the newest watermark. Files that rows name are not
looked at: a new list of them is seen, other bytes behind the same name are not.
"""

import hashlib
import json
from typing import Any, NamedTuple

from prefect import task

from tasks.ingestion.config import SourceConfig
from tasks.ingestion.files.listing import list_files
from tasks.ingestion.ingest import fingerprint
from tasks.ingestion.source_state import Trail, encode, read_trail
from tasks.ingestion.tables.reader import Span, count_rows, newest, table_version
from tasks.storage.artifacts import canonical
from tasks.storage.store import Store, StoreConfig, open_store, read_bytes, write_bytes
from tasks.task_options import STAGE, logger


class Sight(NamedTuple):
    """What the source is like now."""

    key: str
    """The same for the same content."""
    news: str | None
    """What is new since the last finished run read it; None where nothing is."""


def look(name: str, source: SourceConfig, store: Store) -> Sight:
    """Compare the source with what the last finished run of this job has read.

    Raises:
        SourceError: it is missing or cannot be asked.
    """
    now = table_print(source) if source.is_table else file_prints(source, read_trail(store, source))
    noted = read_bytes(store, place_of(name))
    key = hashlib.sha256(canonical(now).encode()).hexdigest()[:16]
    return Sight(key, difference(json.loads(noted) if noted else {}, now))


def note_read(name: str, source: SourceConfig, config: StoreConfig) -> None:
    """Note what a run of this job has read, now that it has come to its end.

    What searches, checks and monitors read is noted nowhere: no model has learned from it.
    """
    store = open_store(config)
    trail = read_trail(store, source)
    files = {path: seen[2] for path, seen in trail.files.items()}
    prints = seen_table(trail) if source.is_table else files
    write_bytes(store, place_of(name), canonical(prints).encode())


def place_of(name: str) -> str:
    """Name the file of what a job has read."""
    return f"seen/{name}.json"


def file_prints(source: SourceConfig, trail: Trail) -> dict[str, Any]:
    """Give each file's fingerprint; only files that were touched are read."""
    fs, files = list_files(source.uri)
    return {file.path: fingerprint(fs, file, trail.files.get(file.path)) for file in files}


def table_print(source: SourceConfig) -> dict[str, Any]:
    """Give a table's version, or its count of rows and its newest watermark."""
    version = table_version(source.table())
    if version is not None:
        return {"version": version}
    table, order = source.table(), source.order
    if order is None:
        return {"rows": count_rows(table, None)}
    top = newest(table, order)
    span = None if top is None else Span(column=order, until=top)
    return {"rows": count_rows(table, span), "newest": encode(top)}


def seen_table(trail: Trail) -> dict[str, Any]:
    """Give the same of what was read."""
    if trail.version is not None:
        return {"version": trail.version}
    if not trail.readings:
        return {}
    rows, until = sum(reading.rows for reading in trail.readings), trail.readings[-1].until
    return {"rows": rows} if until == encode("") else {"rows": rows, "newest": until}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Say in words what differs."""
    if now == before:
        return None
    if not before:
        return "no run has come to its end on this source yet"
    came, gone = now.keys() - before.keys(), before.keys() - now.keys()
    other = [name for name in now.keys() & before.keys() if now[name] != before[name]]
    if {"rows", "version"} & now.keys():
        told = [f"{name} {before.get(name, 'unknown')} -> {now[name]}" for name in now]
        return "the table changed: " + ", ".join(told)
    counts = {"new": len(came), "gone": len(gone), "written again": len(other)}
    return "files " + ", ".join(f"{words}: {count}" for words, count in counts.items() if count)


@task(name="look", task_run_name="look at {source.uri}", timeout_seconds=600, **STAGE)
def look_at_source(name: str, source: SourceConfig, store: StoreConfig) -> Sight:
    """Tell whether the source has changed since the last run."""
    sight = look(name, source, open_store(store))
    logger().info("%s", sight.news or "nothing has changed since the last run")
    return sight
