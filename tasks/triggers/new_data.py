"""Check whether a source has changed since the job's last finished run, without reading its rows.

Files are fingerprinted by size and modification time (a rewritten one by its hash), tables by their
version, or by their row count and newest watermark. Files named in columns (`file_columns`) are not
checked: a new list of names is noticed, a changed file with the same name is not.
"""

import hashlib
import json
from typing import Any, NamedTuple

from prefect import task

from tasks.ingestion.config import SourceConfig
from tasks.ingestion.files.listing import list_files
from tasks.ingestion.ingest import fingerprint_file
from tasks.ingestion.source_state import SourceState, encode_watermark, read_source_state
from tasks.ingestion.tables.reader import RowRange, count_rows, find_newest, read_table_version
from tasks.storage.artifacts import format_canonical_json
from tasks.storage.store import Store, StoreConfig, open_store, read_bytes, write_bytes
from tasks.task_options import STAGE, logger


class SourceStatus(NamedTuple):
    """State of the source at a check."""

    key: str
    """Hash of the fingerprints: equal content has equal keys."""
    change: str | None
    """What has changed since the last finished run, as text; None if nothing has."""


def compare_source(name: str, source: SourceConfig, store: Store) -> SourceStatus:
    """Compare the source with what the last finished run of this job has read.

    Raises:
        SourceError: the source is missing or cannot be read.
    """
    now = _fingerprint_table(source) if source.is_table else _fingerprint_files(source, store)
    before = _read_recorded(store, _get_state_path(name))
    key = hashlib.sha256(format_canonical_json(now).encode()).hexdigest()[:16]
    return SourceStatus(key, _describe_change(before, now))


def record_source_read(name: str, source: SourceConfig, config: StoreConfig) -> None:
    """Record what a finished run of this job has read.

    Tuning, checks and monitoring record nothing, because no registered model is trained on it.
    """
    store = open_store(config)
    state = read_source_state(store, source)
    files = {path: seen[2] for path, seen in state.files.items()}
    fingerprint = _read_table_fingerprint(state) if source.is_table else files
    write_bytes(store, _get_state_path(name), format_canonical_json(fingerprint).encode())


@task(
    name="new_data", task_run_name="check {source.uri} for new data", timeout_seconds=600, **STAGE
)
def check_for_new_data(name: str, source: SourceConfig, store: StoreConfig) -> SourceStatus:
    """Check whether the source has changed since the last run."""
    status = compare_source(name, source, open_store(store))
    logger().info("%s", status.change or "nothing has changed since the last run")
    return status


def _get_state_path(name: str) -> str:
    """Return the store's path of what a job has read."""
    return f"seen/{name}.json"


def _read_recorded(store: Store, path: str) -> dict[str, Any]:
    """Read what the last run has read; nothing where there is no file or it is damaged."""
    data = read_bytes(store, path)
    if data is None:
        return {}
    try:
        recorded = json.loads(data)
    except ValueError:
        recorded = None
    if isinstance(recorded, dict):
        return recorded
    logger().warning("%s/%s is damaged: the source counts as not read yet", store.root, path)
    return {}


def _fingerprint_files(source: SourceConfig, store: Store) -> dict[str, Any]:
    """Fingerprint each file; only files whose size or time has changed are read."""
    state = read_source_state(store, source)
    fs, files = list_files(source.uri, store=store)
    return {file.path: fingerprint_file(fs, file, state.files.get(file.path)) for file in files}


def _fingerprint_table(source: SourceConfig) -> dict[str, Any]:
    """Return a table's version, or its row count and newest watermark."""
    version = read_table_version(source.describe_table())
    if version is not None:
        return {"version": version}
    table, order = source.describe_table(), source.watermark_column
    if order is None:
        return {"rows": count_rows(table, None)}
    top = find_newest(table, order)
    row_range = None if top is None else RowRange(column=order, until=top)
    return {"rows": count_rows(table, row_range), "newest": list(encode_watermark(top))}


def _read_table_fingerprint(state: SourceState) -> dict[str, Any]:
    """Return the fingerprint of the table as it was when it was read."""
    if state.version is not None:
        return {"version": state.version}
    if not state.batches:
        return {}
    rows, until = sum(batch.rows for batch in state.batches), state.batches[-1].until
    newest = {} if until == encode_watermark("") else {"newest": list(until)}
    return {"rows": rows, **newest}


def _describe_change(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Describe the difference of two fingerprints as text; None if they are equal."""
    if now == before:
        return None
    if not before:
        return "no run has finished on this source yet"
    new, gone = now.keys() - before.keys(), before.keys() - now.keys()
    changed = [name for name in now.keys() & before.keys() if now[name] != before[name]]
    if {"rows", "version"} & now.keys():
        changes = [f"{name} {before.get(name, 'unknown')} -> {now[name]}" for name in now]
        return "the table changed: " + ", ".join(changes)
    counts = {"new": len(new), "removed": len(gone), "rewritten": len(changed)}
    return "files " + ", ".join(f"{label}: {count}" for label, count in counts.items() if count)
