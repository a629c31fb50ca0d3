"""Take an immutable snapshot of the source; only what is not yet in the store is read."""

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

from tasks.dataset.rowset import RESERVED_COLUMNS, AsOfCut, RowSet, merge_schemas, to_utc
from tasks.errors import SourceError
from tasks.facts import CutFacts, SnapshotFacts
from tasks.ingestion.as_of import count_rows_until, find_time_column, narrow_cut
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.files.linked_files import fingerprint_linked_files
from tasks.ingestion.files.listing import SourceFile, choose_partition_types, hash_file, list_files
from tasks.ingestion.incremental import read_table_parts
from tasks.ingestion.parts import group_files, make_file_part
from tasks.ingestion.source_changes import (
    apply_policies,
    describe_schema_change,
    find_missing_files,
    find_missing_linked_files,
    find_mixed_schemas,
    find_row_loss,
    find_schema_change,
)
from tasks.ingestion.source_state import (
    SnapshotRecord,
    SourceState,
    read_source_state,
    write_source_state,
)
from tasks.records import Part, Snapshot
from tasks.storage.artifacts import Recipe, local_dir, produce, to_plain
from tasks.storage.store import Store, StoreConfig, delete_dead_staging, open_store
from tasks.task_options import HOUR, STAGE, logger

_VERSION = 2

_STABLE_SECONDS = 2.0
"""Age of a local file from which a later write certainly changes its time."""


class PartOrigin(NamedTuple):
    """A part, and the files or the table that its rows are from."""

    part: Part
    origins: Sequence[tuple[str, int]]
    """Path and number of rows, in the order of the part's rows."""


class SnapshotView(NamedTuple):
    """The parts and rows that a snapshot as of a time consists of."""

    parts: list[PartOrigin]
    cut: AsOfCut | None
    """Leaves out later rows; None where the parts hold none."""
    rows: int
    """How many rows remain."""


def fingerprint_file(
    fs: fsspec.AbstractFileSystem, file: SourceFile, known: Sequence[Any] | None
) -> str:
    """Identify a file's content: by its hash if it is local, else by the storage's tag and size.

    Args:
        fs: where the file is.
        file: as it was listed.
        known: its size, stamp and fingerprint when it was last seen. Where size and stamp have not
            changed, the fingerprint is returned and the file is not read.
    """
    if not isinstance(fs, LocalFileSystem) and file.stamp:
        return f"{file.stamp}:{file.size}"
    if known and file.stamp and list(known[:2]) == [file.size, file.stamp]:
        return str(known[2])
    return hash_file(fs, file.path)


def take_snapshot(
    source: SourceConfig, store: Store, *, as_of: datetime | None = None, remember: bool = True
) -> Snapshot:
    """Return the snapshot of the source; only what is not yet in the store is read.

    Args:
        source: what to read.
        store: where snapshots and their parts are stored.
        as_of: leave out rows later than this; None takes all rows.
        remember: compare the next snapshot of the source with this one.

    Raises:
        SourceError: the source is missing, empty or damaged, or has changed in a way for which
            `source.on_change` is `fail`.
    """
    as_of = to_utc(as_of) if as_of else None
    state = read_source_state(store, source)
    before, files_before = state.find_snapshot(as_of), dict(state.files)
    read = _read_parts(source, store, state, as_of=as_of)
    parts = [each.part for each in read]
    snapshot = _build_snapshot(store, _select_as_of(store, source, read, as_of))
    facts, policies = snapshot.facts, source.on_change
    changes = [
        *find_missing_files(files_before, list(state.files), policies.missing),
        *find_missing_linked_files(parts, policies.missing),
        *find_row_loss(before, facts.rows, policies),
        *find_mixed_schemas(parts, policies.schema),
        *find_schema_change(before, facts.schema, policies.schema),
    ]
    for message in apply_policies(changes):
        logger().warning("%s", message)
    if remember:
        _record_snapshot(state, snapshot, as_of)
        write_source_state(store, source, state)
    return snapshot


@task(name="ingest", task_run_name="ingest {source.uri}", timeout_seconds=6 * HOUR, **STAGE)
def ingest(source: SourceConfig, store: StoreConfig, *, as_of: datetime | None = None) -> Snapshot:
    """Take a snapshot of the source as of a time; of all rows where that is None."""
    opened = open_store(store)
    delete_dead_staging(opened)
    snapshot = take_snapshot(source, opened, as_of=as_of)
    facts = snapshot.facts
    state = "took a snapshot of" if snapshot.recomputed else "unchanged since the last snapshot:"
    logger().info("%s %s rows in %s part(s)", state, facts.rows, len(facts.parts))
    return snapshot


def _read_file_parts(source: SourceConfig, store: Store, state: SourceState) -> list[PartOrigin]:
    """Return the parts that hold the files' rows, and record the files in `state`.

    Raises:
        SourceError: the source is missing, or a file is empty, damaged or of another schema.
    """
    fs, files = list_files(source.uri, store=store)
    fingerprints = {
        file.path: fingerprint_file(fs, file, state.files.get(file.path)) for file in files
    }
    types = choose_partition_types(files)
    linked = fingerprint_linked_files(store, fs, files, columns=source.file_columns)
    # Linked paths are relative to the folder of the file that holds the row: one file a part.
    groups = [[file] for file in files] if source.file_columns else list(group_files(files))
    parts = [
        make_file_part(
            store,
            fs,
            group,
            fingerprints={f.path: fingerprints[f.path] + linked.get(f.path, "") for f in group},
            types=types,
            embed=source.file_columns,
            formats=source.parse,
        )
        for group in groups
    ]
    origins = [
        PartOrigin(
            part,
            [(file.path, rows) for file, (_, rows) in zip(group, part.facts.origins, strict=True)],
        )
        for part, group in zip(parts, groups, strict=True)
    ]
    state.files = {
        f.path: (f.size, _compute_stable_stamp(fs, f), fingerprints[f.path]) for f in files
    }
    return origins


def _read_parts(
    source: SourceConfig, store: Store, state: SourceState, *, as_of: datetime | None
) -> list[PartOrigin]:
    """Return the parts of a source of any kind.

    Raises:
        SourceError: it cannot be read, or has no rows.
    """
    if not source.is_table:
        return _read_file_parts(source, store, state)
    parts = read_table_parts(source, store, state, as_of=as_of)
    if not parts:
        limit = f" up to {as_of:%Y-%m-%d %H:%M}" if as_of and source.watermark_column else ""
        raise SourceError.of(
            f"{source.uri}: the table has no rows{limit}", hint="check the program that writes it"
        )
    return [PartOrigin(part, part.facts.origins) for part in parts]


def _compute_stable_stamp(fs: fsspec.AbstractFileSystem, file: SourceFile) -> str:
    """Return the file's stamp; "" while a further write might not change it.

    A stamp of "" never equals the next one, so that the file is read again.
    """
    if not isinstance(fs, LocalFileSystem):
        return file.stamp
    written = max(int(time) for time in file.stamp.split(":")[:2]) / 1e9
    return file.stamp if time.time() - written > _STABLE_SECONDS else ""


def _open_parts(store: Store, parts: Sequence[Part]) -> RowSet:
    """Open parts as one table.

    Raises:
        SourceError: a column's types have no common type, or a column has a reserved name.
    """
    paths = tuple(local_dir(store, part) / "rows.parquet" for part in parts)
    schemas = [pl.read_parquet_schema(path) for path in paths]
    try:
        rows = RowSet(paths, merge_schemas(schemas))
        rows.scan().head(0).collect()
    except pl.exceptions.PolarsError as error:
        first, *others = [found for part in parts for found in part.facts.schemas]
        unlike = next(other for other in others if other.schema != first.schema)
        raise SourceError.of(
            f"{unlike.path} does not fit {first.path}: a column has no common type",
            found=describe_schema_change(first.schema, unlike.schema),
            hint="bring the files to the same types, or narrow source.uri",
        ) from error
    if reserved := [
        name for name in rows.schema if name in RESERVED_COLUMNS or name.startswith("__rule_")
    ]:
        raise SourceError.of(
            f"columns have reserved names: {', '.join(reserved)}",
            hint="rename or drop them (rows of a quarantine.parquet have some of them)",
        )
    return rows


def _select_as_of(
    store: Store, source: SourceConfig, parts: list[PartOrigin], as_of: datetime | None
) -> SnapshotView:
    """Leave out what is later than `as_of`: whole parts, and by a cut the rows of others.

    Raises:
        SourceError: no rows are left.
    """
    rows = _open_parts(store, [each.part for each in parts])
    totals = [int(each.part.facts.rows) for each in parts]
    column = find_time_column(source, rows.schema) if as_of else None
    cut = AsOfCut(column, as_of) if as_of and column else None
    counts = count_rows_until(rows, cut, totals) if cut else totals
    if not sum(counts):
        raise SourceError.of(
            f"{source.uri}: the source has columns but no rows"
            + (f" up to {cut.until:%Y-%m-%d %H:%M}" if cut else ""),
            found=f"Columns: {', '.join(rows.schema.names())}",
            hint="run it as of a later time" if sum(totals) else "check the export that writes it",
        )
    if later := sum(totals) - sum(counts):
        logger().info("%s rows later than %s are left out", later, as_of)
    if cut is None:
        return SnapshotView(parts, None, sum(counts))
    used = [each for each, count in zip(parts, counts, strict=True) if count]
    rows = _open_parts(store, [each.part for each in used])
    if all(count in {0, total} for count, total in zip(counts, totals, strict=True)):
        return SnapshotView(used, None, sum(counts))
    cut = narrow_cut(RowSet(rows.paths, rows.schema, cut), cut)
    return SnapshotView(used, cut, sum(counts))


def _build_snapshot(store: Store, view: SnapshotView) -> Snapshot:
    """Store the snapshot: a list of parts and a cut, whose hash covers their content."""
    parts = [each.part for each in view.parts]
    cut, keys = view.cut, [part.key for part in parts]
    until = CutFacts(column=cut.column, until=cut.until.isoformat()) if cut else None
    recipe = Recipe(
        stage="ingest",
        version=_VERSION,
        config={"cut": until},
        inputs={f"part-{index:06}": key for index, key in enumerate(keys)},
    )

    def build(folder: Path) -> SnapshotFacts:
        contents = [part.content_hash for part in parts]
        text = json.dumps({"parts": contents, "cut": until}, indent=1, default=to_plain)
        (folder / "snapshot.json").write_text(text, encoding="utf-8")
        schema = _open_parts(store, parts).schema
        return SnapshotFacts(
            rows=view.rows,
            files=sum(len(each.origins) for each in view.parts),
            schema={name: str(dtype) for name, dtype in schema.items()},
            parts=keys,
            cut=until,
            origins=[each.origins for each in view.parts],
        )

    return produce(store, recipe, build, SnapshotFacts)


def _record_snapshot(state: SourceState, snapshot: Snapshot, as_of: datetime | None) -> None:
    """Record a snapshot in the state; it replaces one as of the same time."""
    time_of_snapshot = (as_of or datetime.now(UTC)).isoformat()
    record = SnapshotRecord(
        as_of=time_of_snapshot,
        key=snapshot.key,
        rows=snapshot.facts.rows,
        schema=snapshot.facts.schema,
    )
    others = [found for found in state.snapshots if found.as_of != time_of_snapshot]
    state.snapshots = [*others, record]
