"""Parts: immutable Parquet copies of some of the source's rows, which snapshots share.

Each file is a part of its own, so that only new ones are read. Of very many files small ones share
a part; that cut depends on the files alone, and does not move when files are added at the end.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.row_groups import copy_parquet, write_groups
from tasks.dataset.rowset import common_schema, frame_rows
from tasks.errors import SourceError
from tasks.ingestion.files.csv_blocks import is_plain, read_blocks
from tasks.ingestion.files.formats import SEPARATORS, Format
from tasks.ingestion.files.linked_files import read_linked
from tasks.ingestion.files.listing import SourceFile, blame, localize, open_file, refuse_changed
from tasks.records import Artifact, Facts
from tasks.storage.artifacts import Recipe, digest_of, produce
from tasks.storage.store import Store, staging_dir

VERSION = 1

PART_BYTES = 8 * 2**20
"""Size from which a file is a part of its own even among very many."""

PART_FILES = 256
"""Files from which on small ones share a part, and the most that share one."""


def pack(files: Sequence[SourceFile]) -> Iterator[list[SourceFile]]:
    """Cut the sorted files into parts."""
    if len(files) <= PART_FILES:
        yield from ([file] for file in files)
        return
    held: list[SourceFile] = []
    size = 0
    for file in files:
        full = len(held) == PART_FILES or size + file.size > PART_BYTES
        if held and full:
            yield held
            held, size = [], 0
        held.append(file)
        size += file.size
    if held:
        yield held


def part_of_files(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: list[SourceFile],
    *,
    fingerprints: Mapping[str, str],
    types: Mapping[str, pl.DataType],
    embed: Sequence[str],
) -> Artifact:
    """Return the part that holds these files' rows, read unless the store has it.

    Raises:
        SourceError: a file is damaged, empty, or does not fit the others.
    """
    recipe = Recipe(
        stage="part",
        version=VERSION,
        config={
            "formats": [file.format for file in files],
            "partitions": [dict(file.partition) for file in files],
            "types": {name: str(dtype) for name, dtype in types.items()},
            "embed": list(embed),
        },
        inputs={f"file-{place:04}": fingerprints[file.path] for place, file in enumerate(files)},
    )

    def build(folder: Path) -> Facts:
        return copy_files(store, fs, files, folder / "rows.parquet", types=types, embed=embed)

    return produce(store, recipe, build)


def copy_files(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: list[SourceFile],
    target: Path,
    *,
    types: Mapping[str, pl.DataType],
    embed: Sequence[str],
) -> Facts:
    """Write all files' rows into one Parquet file, in the order of the files.

    Raises:
        SourceError: a file is damaged, empty, or does not fit the others.
    """
    with staging_dir(store) as folder:
        paths = [localize(fs, file, folder) for file in files]
        scans = [typed(open_file(p, f), types) for p, f in zip(paths, files, strict=True)]
        schemas = [scan.collect_schema() for scan in scans]
        refuse_unfitting(schemas, files)
        rows = pl.concat(scans, how="diagonal_relaxed")
        alone = (paths[0], files[0].format) if len(files) == 1 and not types else None
        root = PurePosixPath(files[0].path).parent
        absent = 0
        try:
            if embed:
                absent = embed_files(rows, target, fs=fs, root=root, columns=embed)
            else:
                write_rows(rows, target, alone=alone)
            counts = count_rows(scans, target)
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            raise blame(paths, files, error) from error
        for file in files:
            refuse_changed(fs, file)
    return part_facts(target) | {
        "origins": [[file.path, count] for file, count in zip(files, counts, strict=True)],
        "schemas": varieties(schemas, files),
        "absent": absent,
    }


def count_rows(scans: Sequence[pl.LazyFrame], target: Path) -> list[int]:
    """Count the rows that each file gave to what was written."""
    if len(scans) == 1:
        return [pq.read_metadata(target).num_rows]
    return [int(s.select(pl.len()).collect(engine="streaming").item()) for s in scans]


def write_rows(rows: pl.LazyFrame, target: Path, *, alone: tuple[Path, Format] | None) -> None:
    """Write rows into a Parquet file; `alone` is the file that they all come from as they are."""
    path, kind = alone or (None, None)
    fixed = any("Array(" in str(dtype) for dtype in rows.collect_schema().values())
    if path is not None and kind == "parquet" and not fixed:
        copy_parquet(path, target, rows=frame_rows(rows))
    elif path is not None and kind in SEPARATORS and is_plain(path):
        copy_text(path, target, schema=rows.collect_schema(), separator=SEPARATORS[kind])
    else:
        rows.sink_parquet(target, row_group_size=frame_rows(rows), maintain_order=True)


def copy_text(path: Path, target: Path, *, schema: pl.Schema, separator: str) -> None:
    """Copy a text table block by block; a column without a value is of no type."""
    read = {name: pl.String() if t == pl.Null else t for name, t in schema.items()}
    frames = read_blocks(path, separator=separator, schema=read)
    tables = (frame.cast(schema).to_arrow() for frame in frames)
    write_groups(tables, target, rows=0)


def typed(scan: pl.LazyFrame, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Give the columns of a partition their type."""
    texts = [name for name in types if scan.collect_schema().get(name) == pl.String]
    return scan.with_columns(
        pl.col(name).str.to_date("%Y-%m-%d")
        if types[name] == pl.Date
        else pl.col(name).cast(types[name])
        for name in texts
    )


def part_facts(path: Path) -> dict[str, Any]:
    """Tell a part's rows and columns."""
    schema = pl.read_parquet_schema(path)
    return {
        "rows": pq.read_metadata(path).num_rows,
        "schema": {name: str(dtype) for name, dtype in schema.items()},
    }


def varieties(schemas: Sequence[pl.Schema], files: Sequence[SourceFile]) -> list[dict[str, Any]]:
    """List the different schemas, each with the first file that has it."""
    seen: dict[str, dict[str, Any]] = {}
    for schema, file in zip(schemas, files, strict=True):
        columns = {name: str(dtype) for name, dtype in schema.items()}
        seen.setdefault(repr(columns), {"path": file.path, "schema": columns})
    return list(seen.values())


def refuse_unfitting(schemas: Sequence[pl.Schema], files: Sequence[SourceFile]) -> None:
    """Refuse files of which a column's types have nothing in common.

    Raises:
        SourceError: names the first file that does not fit, and the column.
    """
    fitted = schemas[0]
    for schema, file in zip(schemas[1:], files[1:], strict=True):
        try:
            fitted = common_schema([fitted, schema])
        except pl.exceptions.PolarsError as error:
            both = [name for name in schema if name in fitted and schema[name] != fitted[name]]
            columns = ", ".join(f"{name} ({fitted[name]}, here {schema[name]})" for name in both)
            raise SourceError.of(
                f"{file.path} does not fit {files[0].path}: types have nothing in common",
                found=f"Differing: {columns}",
                mend="bring the files to the same types, or narrow source.uri",
            ) from error


def embed_files(
    rows: pl.LazyFrame,
    target: Path,
    *,
    fs: fsspec.AbstractFileSystem,
    root: PurePosixPath,
    columns: Sequence[str],
) -> int:
    """Write the rows with the bytes of the files that these columns name, a few rows at a time.

    Returns:
        How many files were not there; their cells are null.

    Raises:
        SourceError: a column is missing or holds no paths.
    """
    schema = rows.collect_schema()
    for column in columns:
        if schema.get(column) != pl.String:
            raise SourceError.of(
                f"source.file_columns: column '{column}' holds {schema.get(column, 'nothing')}, no paths",
                found=f"Columns: {', '.join(schema.names())}",
                mend="name columns of text",
            )
    absent = 0

    def filled() -> Iterator[pa.Table]:
        nonlocal absent
        for frame in rows.collect_batches(chunk_size=64, maintain_order=True):
            cells = {
                column: [read_linked(fs, root, path) for path in frame[column]]
                for column in columns
            }
            for column, values in cells.items():
                absent += sum(v is None for v in values) - frame[column].null_count()
            series = [pl.Series(column, cells[column], dtype=pl.Binary) for column in columns]
            yield frame.with_columns(series).to_arrow()

    write_groups(filled(), target, rows=64)
    return absent


def part_of_batches(
    store: Store, batches: Iterable[pa.RecordBatch], *, name: str, schema: pa.Schema
) -> Artifact:
    """Return the part that holds these rows; its key is their content's hash.

    Args:
        store: to keep it in.
        batches: the rows, in frames of any size.
        name: of the table that they come from.
        schema: of the rows, for when there are none.
    """
    with staging_dir(store) as folder:
        path = folder / "rows.parquet"
        write_groups((pa.Table.from_batches([b]) for b in batches), path, rows=0, schema=schema)
        digest = digest_of(path)
        facts = part_facts(path)
        facts |= {
            "origins": [[name, facts["rows"]]],
            "schemas": [{"path": name, "schema": facts["schema"]}],
            "absent": 0,
        }

        def build(home: Path) -> Facts:
            shutil.move(path, home / "rows.parquet")
            return facts

        recipe = Recipe(stage="part", version=VERSION, config={}, inputs={"content": digest})
        return produce(store, recipe, build)
