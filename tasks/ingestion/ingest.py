"""Freeze the source: an immutable snapshot of it, of which only what is new is read."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import polars as pl
from fsspec.implementations.local import LocalFileSystem
from prefect import task

from tasks.dataset.rowset import RESERVED, Cut, RowSet, common_schema, instant
from tasks.errors import SourceError
from tasks.ingestion.as_of import kept_rows, last_kept, time_column
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.files.linked_files import fingerprint_linked
from tasks.ingestion.files.listing import SourceFile, hash_file, list_files, partition_types
from tasks.ingestion.incremental import table_parts
from tasks.ingestion.parts import pack, part_of_files
from tasks.ingestion.source_changes import (
    absent_files,
    difference,
    drifted_schema,
    find_row_loss,
    missing_files,
    mixed_schemas,
    settle_changes,
)
from tasks.ingestion.source_state import Seen, Trail, read_trail, write_trail
from tasks.records import Artifact, Facts, Snapshot
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger

VERSION = 2

SETTLED_SECONDS = 2.0
"""Age of a local file from which its time tells whether it was written again."""


def fingerprint(
    fs: fsspec.AbstractFileSystem, file: SourceFile, known: Sequence[Any] | None
) -> str:
    """Identify a file's content: by its hash here, by tag and size in remote storage.

    A local file whose size and time are as they were is not read again.
    """
    if not isinstance(fs, LocalFileSystem) and file.stamp:
        return f"{file.stamp}:{file.size}"
    if known and file.stamp and list(known[:2]) == [file.size, file.stamp]:
        return str(known[2])
    return hash_file(fs, file.path)


class Taken(NamedTuple):
    """A part, and where its rows are from: each file, and how many rows it gave."""

    part: Artifact
    origins: list[list[Any]]


def file_parts(source: SourceConfig, store: Store, trail: Trail) -> list[Taken]:
    """Return the parts that hold the files' rows, and note the files in the trail.

    Raises:
        SourceError: the source is missing, or a file is empty, damaged or does not fit.
    """
    fs, files = list_files(source.uri)
    prints = {file.path: fingerprint(fs, file, trail.files.get(file.path)) for file in files}
    types = partition_types(files)
    linked = fingerprint_linked(store, fs, files, columns=source.file_columns)
    # Paths that rows name start in the folder of their own file.
    groups = [[file] for file in files] if source.file_columns else list(pack(files))
    parts = [
        part_of_files(
            store,
            fs,
            group,
            fingerprints={f.path: prints[f.path] + linked.get(f.path, "") for f in group},
            types=types,
            embed=source.file_columns,
        )
        for group in groups
    ]
    taken = [
        Taken(
            part,
            [
                [file.path, rows]
                for file, (_, rows) in zip(group, part.facts["origins"], strict=True)
            ],
        )
        for part, group in zip(parts, groups, strict=True)
    ]
    trail.files = {f.path: [f.size, settled(fs, f), prints[f.path]] for f in files}
    return taken


def read_parts(
    source: SourceConfig, store: Store, trail: Trail, *, as_of: datetime | None
) -> list[Taken]:
    """Return the parts of a source of any kind.

    Raises:
        SourceError: it cannot be read, or there is nothing.
    """
    if not source.is_table:
        return file_parts(source, store, trail)
    parts = table_parts(source, store, trail, as_of=as_of)
    if not parts:
        late = f" up to {as_of:%Y-%m-%d %H:%M}" if as_of and source.order else ""
        raise SourceError.of(
            f"{source.uri}: the table has no rows{late}", mend="check what fills it"
        )
    return [Taken(part, part.facts["origins"]) for part in parts]


def settled(fs: fsspec.AbstractFileSystem, file: SourceFile) -> str:
    """Give the file's stamp, or none while another write could still leave it the same."""
    if not isinstance(fs, LocalFileSystem):
        return file.stamp
    written = max(int(time) for time in file.stamp.split(":")[:2]) / 1e9
    return file.stamp if time.time() - written > SETTLED_SECONDS else ""


def open_parts(store: Store, parts: Sequence[Artifact]) -> RowSet:
    """Open parts as one table.

    Raises:
        SourceError: the types of a column have nothing in common.
    """
    paths = tuple(local_dir(store, part) / "rows.parquet" for part in parts)
    schemas = [pl.read_parquet_schema(path) for path in paths]
    try:
        rows = RowSet(paths, common_schema(schemas))
        rows.scan().head(0).collect()
    except pl.exceptions.PolarsError as error:
        first, *others = [variety for part in parts for variety in part.facts["schemas"]]
        unlike = next(other for other in others if other["schema"] != first["schema"])
        raise SourceError.of(
            f"{unlike['path']} does not fit {first['path']}: types have nothing in common",
            found=difference(first["schema"], unlike["schema"]),
            mend="bring the files to the same types, or narrow source.uri",
        ) from error
    if taken := [name for name in rows.schema if name in RESERVED or name.startswith("__rule_")]:
        raise SourceError.of(
            f"columns have names that are used here: {', '.join(taken)}",
            mend="rename or drop them (rows from a quarantine carry some of them)",
        )
    return rows


class View(NamedTuple):
    """The parts of which a run sees rows, the time up to which, and how many rows that are."""

    taken: list[Taken]
    cut: Cut | None
    rows: int


def view_of(store: Store, source: SourceConfig, taken: list[Taken], as_of: datetime | None) -> View:
    """Leave out what is later than the time asked for: whole parts, and rows of others.

    Raises:
        SourceError: no rows are left.
    """
    rows = open_parts(store, [each.part for each in taken])
    totals = [int(each.part.facts["rows"]) for each in taken]
    column = time_column(source, rows.schema) if as_of else None
    cut = Cut(column, as_of) if as_of and column else None
    counts = kept_rows(rows, cut, totals) if cut else totals
    if not sum(counts):
        raise SourceError.of(
            f"{source.uri}: the source has columns but no rows"
            + (f" up to {cut.until:%Y-%m-%d %H:%M}" if cut else ""),
            found=f"Columns: {', '.join(rows.schema.names())}",
            mend="run it as of a later time" if sum(totals) else "check the export that writes it",
        )
    if later := sum(totals) - sum(counts):
        logger().info("%s rows later than %s are left out", later, as_of)
    empty = cut is None
    left = [each for each, kept in zip(taken, counts, strict=True) if kept or empty]
    parts = open_parts(store, [each.part for each in left])
    whole = all(kept in {0, total} for kept, total in zip(counts, totals, strict=True))
    if cut is None or whole:
        return View(left, None, sum(counts))
    return View(left, last_kept(RowSet(parts.paths, parts.schema, cut), cut), sum(counts))


def assemble(store: Store, view: View) -> Snapshot:
    """Return the snapshot that these parts make."""
    parts = [each.part for each in view.taken]
    cut, keys = view.cut, [part.key for part in parts]
    until = {"column": cut.column, "until": cut.until.isoformat()} if cut else None
    recipe = Recipe(
        stage="ingest",
        version=VERSION,
        config={"cut": until},
        inputs={f"part-{place:06}": key for place, key in enumerate(keys)},
    )

    def build(folder: Path) -> Facts:
        contents = [part.content_hash for part in parts]
        text = json.dumps({"parts": contents, "cut": until}, indent=1)
        (folder / "snapshot.json").write_text(text, encoding="utf-8")
        schema = open_parts(store, parts).schema
        return {
            "rows": view.rows,
            "files": sum(len(each.origins) for each in view.taken),
            "schema": {name: str(dtype) for name, dtype in schema.items()},
            "parts": keys,
            "cut": until,
            "origins": [each.origins for each in view.taken],
        }

    return Snapshot(produce(store, recipe, build))


def take_snapshot(
    source: SourceConfig, store: Store, *, as_of: datetime | None = None, remember: bool = True
) -> Snapshot:
    """Return the snapshot of the source, of which only what the store lacks is read.

    Args:
        source: what to read.
        store: where snapshots and their parts are kept.
        as_of: leave out rows later than this; None takes all that is there.
        remember: compare the next snapshot of the source with this one.

    Raises:
        SourceError: the source is missing, empty or damaged, or has changed in a way that its
            owner wants to stop at.
    """
    as_of = instant(as_of) if as_of else None
    trail = read_trail(store, source)
    before, files_before = trail.before(as_of), dict(trail.files)
    taken = read_parts(source, store, trail, as_of=as_of)
    parts = [each.part for each in taken]
    snapshot = assemble(store, view_of(store, source, taken, as_of))
    facts, wanted = snapshot.facts, source.on_change
    changes = [
        *missing_files(files_before, list(trail.files), wanted.missing),
        *absent_files(parts, wanted.missing),
        *find_row_loss(before, facts["rows"], wanted),
        *mixed_schemas(parts, wanted.schema),
        *drifted_schema(before, facts["schema"], wanted.schema),
    ]
    for told in settle_changes(changes):
        logger().warning("%s", told)
    if remember:
        note(trail, snapshot, as_of)
        write_trail(store, source, trail)
    return snapshot


def note(trail: Trail, snapshot: Snapshot, as_of: datetime | None) -> None:
    """Note a snapshot in the trail, in place of one as of the same time."""
    time_asked = (as_of or datetime.now(UTC)).isoformat()
    seen = Seen(
        as_of=time_asked,
        key=snapshot.key,
        rows=snapshot.facts["rows"],
        schema=snapshot.facts["schema"],
    )
    trail.snapshots = [s for s in trail.snapshots if s.as_of != time_asked] + [seen]


@task(name="ingest", task_run_name="ingest {source.uri}", timeout_seconds=6 * HOUR, **STAGE)
def ingest(source: SourceConfig, store: StoreConfig, *, as_of: datetime | None = None) -> Snapshot:
    """Freeze the source as it was at a time; None freezes all that is there."""
    snapshot = take_snapshot(source, open_store(store), as_of=as_of)
    facts = snapshot.facts
    verb = "froze" if snapshot.recomputed else "unchanged since the last snapshot:"
    logger().info("%s %s rows in %s part(s)", verb, facts["rows"], len(facts["parts"]))
    return snapshot
