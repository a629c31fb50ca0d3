"""Parts: immutable Parquet copies of some of the source's rows, which snapshots share.

Each file is a part of its own, so that only new files are read. Where there are very many, small
files share a part; the grouping depends only on the files before, so that files added at the end
do not change it.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.row_groups import copy_parquet, write_row_groups
from tasks.dataset.rowset import choose_frame_rows, merge_schemas
from tasks.errors import SourceError
from tasks.facts import FileSchema, PartFacts
from tasks.ingestion.files.csv_blocks import is_unquoted_text, read_csv_blocks
from tasks.ingestion.files.extreme_times import clear_extreme_times
from tasks.ingestion.files.formats import TEXT_TABLES, Format, find_separator
from tasks.ingestion.files.linked_files import read_linked_file
from tasks.ingestion.files.listing import (
    SourceFile,
    check_unchanged,
    fetch_file,
    find_damaged_file,
    scan_file,
)
from tasks.ingestion.text_columns import parse_columns
from tasks.records import Part
from tasks.storage.artifacts import Recipe, produce
from tasks.storage.integrity import hash_file
from tasks.storage.store import Store, open_staging_dir

_VERSION = 3

_PART_BYTES = 8 * 2**20
"""Most bytes of a shared part; a larger file is a part of its own."""

_PART_FILES = 256
"""Most files of a shared part; up to as many files in all are a part each."""


def group_files(files: Sequence[SourceFile]) -> Iterator[list[SourceFile]]:
    """Group the sorted files into parts."""
    if len(files) <= _PART_FILES:
        yield from ([file] for file in files)
        return
    group: list[SourceFile] = []
    size = 0
    for file in files:
        full = len(group) == _PART_FILES or size + file.size > _PART_BYTES
        if group and full:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def make_file_part(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: list[SourceFile],
    *,
    fingerprints: Mapping[str, str],
    types: Mapping[str, pl.DataType],
    embed: Sequence[str],
    formats: Mapping[str, str],
) -> Part:
    """Return the part that holds these files' rows; read them only if the store lacks it.

    Args:
        store: that holds the parts.
        fs: the filesystem of the files.
        files: in the order of their rows.
        fingerprints: of the files' content, by path.
        types: of the partition columns, by name.
        embed: columns with paths, which are replaced by the bytes of those files.
        formats: of the columns of text that are parsed, by name.

    Raises:
        SourceError: a file is damaged or empty, or its types do not fit those of the others.
    """
    recipe = Recipe(
        stage="part",
        version=_VERSION,
        config={
            "formats": [file.format for file in files],
            "partitions": [dict(file.partition) for file in files],
            "types": {name: str(dtype) for name, dtype in types.items()},
            "embed": list(embed),
            **({"parse": dict(formats)} if formats else {}),
        },
        inputs={f"file-{index:04}": fingerprints[file.path] for index, file in enumerate(files)},
    )

    def build(folder: Path) -> PartFacts:
        path = folder / "rows.parquet"
        return _copy_files(store, fs, files, path, types=types, embed=embed, formats=formats)

    return produce(store, recipe, build, PartFacts)


def make_table_part(
    store: Store, batches: Iterable[pa.RecordBatch], *, name: str, schema: pa.Schema
) -> Part:
    """Write a table's rows as a part, whose key is the hash of their content.

    Args:
        store: that holds the parts.
        batches: of rows, of any size.
        name: of the table, recorded as the rows' origin.
        schema: of the rows, used where there are none.
    """
    with open_staging_dir(store) as folder:
        path = folder / "rows.parquet"
        write_row_groups((pa.Table.from_batches([b]) for b in batches), path, rows=0, schema=schema)
        digest = hash_file(path)
        rows, columns = pq.read_metadata(path).num_rows, _read_schema(path)
        facts = PartFacts(
            rows=rows,
            schema=columns,
            origins=[(name, rows)],
            schemas=[FileSchema(path=name, schema=columns)],
            missing_files=0,
        )

        def build(home: Path) -> PartFacts:
            shutil.move(path, home / "rows.parquet")
            return facts

        recipe = Recipe(stage="part", version=_VERSION, config={}, inputs={"content": digest})
        return produce(store, recipe, build, PartFacts)


def _copy_files(
    store: Store,
    fs: fsspec.AbstractFileSystem,
    files: list[SourceFile],
    target: Path,
    *,
    types: Mapping[str, pl.DataType],
    embed: Sequence[str],
    formats: Mapping[str, str],
) -> PartFacts:
    """Write all files' rows into one Parquet file, in the order of the files.

    Raises:
        SourceError: a file is damaged or empty, or its types do not fit those of the others.
    """
    with open_staging_dir(store) as folder:
        paths = [fetch_file(fs, file, folder) for file in files]
        scans = [
            parse_columns(_cast_partitions(scan_file(p, f), types), formats, f.path)
            for p, f in zip(paths, files, strict=True)
        ]
        schemas = [scan.collect_schema() for scan in scans]
        _check_schemas_fit(schemas, files)
        root = PurePosixPath(files[0].path).parent
        absent = 0
        try:
            cleared = [clear_extreme_times(s, f.path) for s, f in zip(scans, files, strict=True)]
            scans = [old if new is None else new for new, old in zip(cleared, scans, strict=True)]
            rows = pl.concat(scans, how="diagonal_relaxed")
            is_unchanged = len(files) == 1 and not (types or formats or cleared[0] is not None)
            single = (paths[0], files[0].format) if is_unchanged else None
            if embed:
                absent = _embed_files(rows, target, fs=fs, root=root, columns=embed)
            else:
                _write_rows(rows, target, single=single)
            counts = _count_rows(scans, target)
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            raise find_damaged_file(paths, files, error) from error
        for file in files:
            check_unchanged(fs, file)
    return PartFacts(
        rows=pq.read_metadata(target).num_rows,
        schema=_read_schema(target),
        origins=[(file.path, count) for file, count in zip(files, counts, strict=True)],
        schemas=_list_schemas(schemas, files),
        missing_files=absent,
    )


def _count_rows(scans: Sequence[pl.LazyFrame], target: Path) -> list[int]:
    """Count the rows of each file, in the order of the files."""
    if len(scans) == 1:
        return [pq.read_metadata(target).num_rows]
    return [int(s.select(pl.len()).collect(engine="streaming").item()) for s in scans]


def _write_rows(rows: pl.LazyFrame, target: Path, *, single: tuple[Path, Format] | None) -> None:
    """Write rows into a Parquet file.

    Args:
        rows: of all files.
        target: the Parquet file.
        single: path and format of the file that all rows come from unchanged, if there is one: it
            is copied in bounded memory.
    """
    path, kind = single or (None, None)
    has_arrays = any("Array(" in str(dtype) for dtype in rows.collect_schema().values())
    if path is not None and kind == "parquet" and not has_arrays:
        copy_parquet(path, target, rows=choose_frame_rows(rows))
    elif path is not None and kind in TEXT_TABLES and is_unquoted_text(path):
        _copy_csv(path, target, schema=rows.collect_schema(), separator=find_separator(path, kind))
    else:
        rows.sink_parquet(target, row_group_size=choose_frame_rows(rows), maintain_order=True)


def _copy_csv(path: Path, target: Path, *, schema: pl.Schema, separator: str) -> None:
    """Copy a text table block by block; a column without values has the type Null."""
    readable = {name: pl.String() if t == pl.Null else t for name, t in schema.items()}
    frames = read_csv_blocks(path, separator=separator, schema=readable)
    tables = (frame.cast(schema).to_arrow() for frame in frames)
    write_row_groups(tables, target, rows=0)


def _cast_partitions(scan: pl.LazyFrame, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Cast the partition columns, which come from paths as text, to their types."""
    texts = [name for name in types if scan.collect_schema().get(name) == pl.String]
    return scan.with_columns(
        pl.col(name).str.to_date("%Y-%m-%d")
        if types[name] == pl.Date
        else pl.col(name).cast(types[name])
        for name in texts
    )


def _read_schema(path: Path) -> dict[str, str]:
    """Read the types of a Parquet file's columns, by name."""
    return {name: str(dtype) for name, dtype in pl.read_parquet_schema(path).items()}


def _list_schemas(schemas: Sequence[pl.Schema], files: Sequence[SourceFile]) -> list[FileSchema]:
    """List the distinct schemas, each with the path of the first file that has it."""
    distinct: dict[str, FileSchema] = {}
    for schema, file in zip(schemas, files, strict=True):
        columns = {name: str(dtype) for name, dtype in schema.items()}
        distinct.setdefault(repr(columns), FileSchema(path=file.path, schema=columns))
    return list(distinct.values())


def _check_schemas_fit(schemas: Sequence[pl.Schema], files: Sequence[SourceFile]) -> None:
    """Check that each column has a common type in all files.

    Raises:
        SourceError: it has none; the message names the first such file and the columns.
    """
    merged = schemas[0]
    for schema, file in zip(schemas[1:], files[1:], strict=True):
        try:
            merged = merge_schemas([merged, schema])
        except pl.exceptions.PolarsError as error:
            both = [name for name in schema if name in merged and schema[name] != merged[name]]
            columns = ", ".join(f"{name} ({merged[name]}, here {schema[name]})" for name in both)
            raise SourceError.of(
                f"{file.path} does not fit {files[0].path}: a column has no common type",
                found=f"Differing: {columns}",
                hint="bring the files to the same types, or narrow source.uri",
            ) from error


def _embed_files(
    rows: pl.LazyFrame,
    target: Path,
    *,
    fs: fsspec.AbstractFileSystem,
    root: PurePosixPath,
    columns: Sequence[str],
) -> int:
    """Write the rows with the bytes of their linked files in place of the paths, 64 rows at a time.

    Args:
        rows: with paths.
        target: the Parquet file.
        fs: the filesystem of the linked files.
        root: the folder that relative paths start from.
        columns: that hold paths.

    Returns:
        The number of files that do not exist; their cells are null.

    Raises:
        SourceError: a column is missing or does not hold text.
    """
    schema = rows.collect_schema()
    for column in columns:
        if schema.get(column) != pl.String:
            raise SourceError.of(
                f"source.file_columns: column '{column}' holds {schema.get(column, 'nothing')}, "
                "not paths",
                found=f"Columns: {', '.join(schema.names())}",
                hint="name columns that hold text",
            )
    absent = 0

    def read_tables() -> Iterator[pa.Table]:
        nonlocal absent
        for frame in rows.collect_batches(chunk_size=64, maintain_order=True):
            cells = {
                column: [read_linked_file(fs, root, path) for path in frame[column]]
                for column in columns
            }
            for column, values in cells.items():
                absent += sum(v is None for v in values) - frame[column].null_count()
            series = [pl.Series(column, cells[column], dtype=pl.Binary) for column in columns]
            yield frame.with_columns(series).to_arrow()

    write_row_groups(read_tables(), target, rows=64)
    return absent
