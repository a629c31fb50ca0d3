"""Freeze the source: an immutable Parquet copy, by streaming."""

import hashlib
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
from fsspec.implementations.local import LocalFileSystem
from prefect import task

from tasks.artifacts import Facts, Snapshot
from tasks.errors import SourceError
from tasks.publish import Recipe, produce
from tasks.sources import (
    SourceConfig,
    SourceFile,
    blame,
    list_files,
    open_file,
    refuse_mixed,
)
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store, staging_dir

VERSION = 1

GROUP_BYTES = 64 * 2**20
"""Decoded bytes of a row group of the snapshot, by the first rows' size."""

MAX_GROUP_ROWS = 65_536


def localize(fs: fsspec.AbstractFileSystem, path: str, folder: Path) -> Path:
    """Return the file's path on this machine, fetched where it lies elsewhere."""
    if isinstance(fs, LocalFileSystem):
        return Path(path)
    target = folder / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}{Path(path).suffix}"
    fs.get_file(path, str(target))
    return target


def copy_rows(
    store: Store, fs: fsspec.AbstractFileSystem, files: list[SourceFile], target: Path
) -> Facts:
    """Write all files' rows into one Parquet file, in the order of the files.

    Raises:
        SourceError: a file is damaged, empty, or does not fit the others.
    """
    with staging_dir(store) as folder:
        paths = [localize(fs, file.path, folder) for file in files]
        scans = [open_file(path, file) for path, file in zip(paths, files, strict=True)]
        refuse_mixed(scans, files)
        try:
            rows = pl.concat(scans, how="vertical")
            rows.sink_parquet(
                target, compression="zstd", row_group_size=group_rows(rows), maintain_order=True
            )
        except pl.exceptions.PolarsError as error:
            raise blame(paths, files, error) from error
    schema = pl.read_parquet_schema(target)
    count = int(pl.scan_parquet(target).select(pl.len()).collect().item())
    if count == 0:
        raise SourceError.of(
            f"{files[0].path}: the source has columns but no rows",
            found=f"Columns: {', '.join(schema)}",
            mend="check the export that writes it",
        )
    return {
        "rows": count,
        "files": len(files),
        "schema": {name: str(dtype) for name, dtype in schema.items()},
    }


def group_rows(rows: pl.LazyFrame) -> int:
    """Choose the rows of a row group so that one fits in memory, large cells or small."""
    head = rows.head(256).collect()
    size = max(1, head.estimated_size()) / max(1, len(head))
    return max(16, min(MAX_GROUP_ROWS, int(GROUP_BYTES / size)))


def take_snapshot(source: SourceConfig, store: Store) -> Snapshot:
    """Return the snapshot of what the source holds now, copied unless the store has it.

    Raises:
        SourceError: the source is missing, empty, damaged or mixed.
    """
    fs, files = list_files(source.uri)
    recipe = Recipe(
        stage="ingest",
        version=VERSION,
        config={"formats": [file.format for file in files]},
        inputs={f"file-{index:06}": file.fingerprint for index, file in enumerate(files)},
    )

    def build(folder: Path) -> Facts:
        return copy_rows(store, fs, files, folder / "rows.parquet")

    return Snapshot(produce(store, recipe, build))


@task(name="ingest", task_run_name="ingest {source.uri}", timeout_seconds=6 * HOUR, **STAGE)
def ingest(source: SourceConfig, store: StoreConfig) -> Snapshot:
    """Freeze the source as it is now."""
    snapshot = take_snapshot(source, open_store(store))
    facts: dict[str, Any] = dict(snapshot.facts)
    verb = "froze" if snapshot.recomputed else "unchanged since the last snapshot:"
    logger().info("%s %s rows of %s file(s)", verb, facts["rows"], facts["files"])
    return snapshot
