"""Freeze the source: an immutable snapshot of it, of which only what is new is read."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import fsspec
import polars as pl
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from prefect import task

from tasks.artifacts import Artifact, Facts, Snapshot
from tasks.changes import (
    absent_files,
    difference,
    drifted_schema,
    missing_files,
    mixed_schemas,
    settle_changes,
    shrunken,
)
from tasks.errors import SourceError
from tasks.files import SourceFile, hash_file, list_files, partition_types
from tasks.linked import fingerprint_linked
from tasks.parts import pack, part_of_files
from tasks.publish import Recipe, local_dir, produce
from tasks.readings import table_parts
from tasks.rows import Cut, RowSet, bound, common_schema
from tasks.sources import SourceConfig
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store
from tasks.trail import Seen, Trail, read_trail, write_trail

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


def file_parts(source: SourceConfig, store: Store, trail: Trail) -> list[Artifact]:
    """Return the parts that hold the files' rows, and note the files in the trail.

    Raises:
        SourceError: the source is missing, or a file is empty, damaged or does not fit.
    """
    fs, files = list_files(source.uri)
    prints = {file.path: fingerprint(fs, file, trail.files.get(file.path)) for file in files}
    types = partition_types(files)
    linked = fingerprint_linked(store, fs, files, columns=source.files)
    parts = [
        part_of_files(
            store,
            fs,
            group,
            fingerprints={f.path: prints[f.path] + linked.get(f.path, "") for f in group},
            types=types,
            embed=source.files,
        )
        for group in pack(files)
    ]
    trail.files = {f.path: [f.size, settled(fs, f), prints[f.path]] for f in files}
    return parts


def settled(fs: fsspec.AbstractFileSystem, file: SourceFile) -> str:
    """Give the file's stamp, or none while another write could still leave it the same."""
    if isinstance(fs, LocalFileSystem) and time.time() - float(file.stamp) < SETTLED_SECONDS:
        return ""
    return file.stamp


def cut_of(source: SourceConfig, rows: RowSet, as_of: datetime | None) -> Cut | None:
    """Give the time at which to cut the rows, or None where no row is later than that."""
    column = source.order
    if as_of is None or column is None or column not in rows.schema:
        return None
    dtype = rows.schema[column]
    if not isinstance(dtype, pl.Date | pl.Datetime):
        return None
    latest = [latest_in(path, column) for path in rows.paths]
    known = [value for value in latest if value is not None]
    if not known or max(known) <= bound(as_of, dtype):
        return None
    return Cut(column, as_of)


def latest_in(path: Path, column: str) -> date | datetime | None:
    """Give the largest value of a part's column, by the file's own statistics where it has them."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if column not in names or not file.metadata.num_rows:
            return None
        place = file.metadata.schema.names.index(column)
        groups = range(file.metadata.num_row_groups)
        found = [file.metadata.row_group(group).column(place).statistics for group in groups]
        if all(each is not None and each.has_min_max for each in found):
            return cast("date | datetime", max(each.max for each in found))
    top = pl.scan_parquet(path).select(pl.col(column).max()).collect(engine="streaming").item()
    return top if isinstance(top, date) else None


def open_parts(store: Store, parts: Sequence[Artifact]) -> RowSet:
    """Open parts as one table.

    Raises:
        SourceError: the types of a column have nothing in common.
    """
    paths = tuple(local_dir(store, part) / "rows.parquet" for part in parts)
    schemas = [pl.read_parquet_schema(path) for path in paths]
    try:
        return RowSet(paths, common_schema(schemas))
    except pl.exceptions.PolarsError as error:
        first, *others = [variety for part in parts for variety in part.facts["schemas"]]
        unlike = next(other for other in others if other["schema"] != first["schema"])
        raise SourceError.of(
            f"{unlike['path']} does not fit {first['path']}: types have nothing in common",
            found=difference(first["schema"], unlike["schema"]),
            mend="bring the files to the same types, or narrow source.uri",
        ) from error


def assemble(
    store: Store, source: SourceConfig, parts: Sequence[Artifact], as_of: datetime | None
) -> Snapshot:
    """Return the snapshot that these parts make, up to the time asked for.

    Raises:
        SourceError: no rows are left.
    """
    rows = open_parts(store, parts)
    cut = cut_of(source, rows, as_of)
    total = sum(part.facts["rows"] for part in parts)
    kept = total
    if cut is not None:
        rows = RowSet(rows.paths, rows.schema, cut)
        kept = int(rows.scan().select(pl.len()).collect(engine="streaming").item())
    if kept == 0:
        raise SourceError.of(
            f"{source.uri}: the source has columns but no rows"
            + (f" up to {cut.until:%Y-%m-%d %H:%M}" if cut else ""),
            found=f"Columns: {', '.join(rows.schema.names())}",
            mend="run it as of a later time" if total else "check the export that writes it",
        )
    until = {"column": cut.column, "until": cut.until.isoformat()} if cut else None
    keys = [part.key for part in parts]
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
        return {
            "rows": kept,
            "files": sum(len(part.facts["origins"]) for part in parts),
            "schema": {name: str(dtype) for name, dtype in rows.schema.items()},
            "parts": keys,
            "cut": until,
            "later": total - kept,
        }

    return Snapshot(produce(store, recipe, build))


def take_snapshot(source: SourceConfig, store: Store, *, as_of: datetime | None = None) -> Snapshot:
    """Return the snapshot of the source, of which only what the store lacks is read.

    Args:
        source: what to read.
        store: where snapshots and their parts are kept.
        as_of: leave out rows later than this; None takes all that is there.

    Raises:
        SourceError: the source is missing, empty or damaged, or has changed in a way that its
            owner wants to stop at.
    """
    trail = read_trail(store, source)
    before, files_before = trail.before(as_of), dict(trail.files)
    if source.is_table:
        parts = table_parts(source, store, trail, as_of=as_of)
    else:
        parts = file_parts(source, store, trail)
    if not parts:
        raise SourceError.of(f"{source.uri}: the table has no rows", mend="check what fills it")
    snapshot = assemble(store, source, parts, as_of)
    facts, wanted = snapshot.facts, source.changes
    changes = [
        *missing_files(files_before, list(trail.files), wanted.missing),
        *absent_files(parts, wanted.missing),
        *shrunken(before, facts["rows"], wanted),
        *mixed_schemas(parts, wanted.schema),
        *drifted_schema(before, facts["schema"], wanted.schema),
    ]
    for told in settle_changes(changes):
        logger().warning("%s", told)
    if facts["later"]:
        logger().info("%s rows later than %s are left out", facts["later"], facts["cut"]["until"])
    remember(trail, snapshot, as_of)
    write_trail(store, source, trail)
    return snapshot


def remember(trail: Trail, snapshot: Snapshot, as_of: datetime | None) -> None:
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
