"""Read Delta Lake and Iceberg tables at one version, through Polars' scanners.

A version is written `id@number`, with the table's id: a table that was deleted and created again
under the same name is another one. Filters are pushed down to the files' statistics. An Iceberg
table is opened by its newest metadata file, so that no catalog is needed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import polars as pl
import pyarrow as pa

from models.extras import describe_install
from tasks.dataset.external_sort import (
    choose_batch_rows,
    estimate_row_bytes,
    sort_rows,
    to_record_batches,
)
from tasks.errors import SourceDownError, SourceError, StoreError
from tasks.ingestion.tables.row_range import (
    Bound,
    RowRange,
    Table,
    TableKind,
    check_column_exists,
    check_column_orderable,
    convert_bound,
)
from tasks.storage.disk_errors import build_disk_error

# So that its S3 client reads the same environment variables as fsspec does elsewhere.
_FILE_IO = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}

_READ_ERRORS: tuple[type[Exception], ...] = (
    pl.exceptions.PolarsError,
    OSError,
    ValueError,
    OverflowError,
    # Parts of a table's format that its reader does not support.
    NotImplementedError,
)

_DOWN_MESSAGES = (
    "error sending request",
    "timed out",
    "timeout on",
    "connection refused",
    "could not connect",
)


def detect_lakehouse_table(uri: str) -> TableKind | None:
    """Return the format of the table in a folder; None where there is none.

    Raises:
        SourceDownError: the storage cannot be reached.
        SourceError: the storage cannot be read.
    """
    expected: tuple[type[Exception], ...] = (OSError, ValueError, *_list_storage_errors())
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        if fs.isdir(f"{path}/_delta_log"):
            return "delta"
        return "iceberg" if fs.glob(f"{path}/metadata/*.metadata.json") else None
    except ImportError as error:
        raise SourceError.of(
            f"source.uri: '{uri}' cannot be opened: {error}",
            hint="install the package of that filesystem (s3fs for s3://)",
        ) from error
    except expected as error:
        raise _describe_error(error, f"source.uri: '{uri}'", "cannot be opened") from error


def find_newest_metadata(uri: str) -> list[str]:
    """Find the metadata files with the highest number; two writers may have left two."""
    fs, path = fsspec.core.url_to_fs(uri)
    found = fs.glob(f"{path}/metadata/*.metadata.json")
    numbers = {
        name: int(match[1])
        for name in found
        if (match := re.match(r"v?(\d+)", name.rpartition("/")[2]))
    }
    newest = [name for name in found if numbers.get(name, -1) == max(numbers.values(), default=-1)]
    return [fs.unstrip_protocol(name) for name in newest]


def read_version(table: Table, kind: TableKind) -> str:
    """Return the table's id and the version that a read would find."""
    with _translate_errors(table, kind):
        return _open_table(table, kind)[1]


def read_schema(table: Table, kind: TableKind) -> pl.Schema:
    """Return the columns and their types, from the table's metadata."""
    with _translate_errors(table, kind):
        return _open_table(table, kind)[0].collect_schema()


def count_rows(table: Table, kind: TableKind, row_range: RowRange | None) -> int:
    """Count the rows of a range; all rows for None."""
    with _translate_errors(table, kind):
        return int(
            _scan_range(table, kind, row_range).select(pl.len()).collect(engine="streaming").item()
        )


def find_newest(table: Table, kind: TableKind, column: str) -> Bound | None:
    """Return the largest value of a column, NaN excepted; None where it has none."""
    with _translate_errors(table, kind):
        rows = _open_table(table, kind)[0]
        columns = rows.collect_schema()
        check_column_exists(column, columns, table.uri)
        check_column_orderable(column, columns[column], table.uri)
        values = pl.col(column).drop_nans() if columns[column].is_float() else pl.col(column)
        found: Bound | None = rows.select(values.max()).collect(engine="streaming").item()
        return found


def read_batches(
    table: Table, kind: TableKind, row_range: RowRange | None, order_by: str | None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a range, sorted by `order_by` with nulls first, or in any order."""
    with _translate_errors(table, kind):
        rows = _scan_range(table, kind, row_range)
        columns = rows.collect_schema()
        check_column_exists(order_by, columns, table.uri)
        if order_by is not None:
            check_column_orderable(order_by, columns[order_by], table.uri)
            yield from sort_rows(rows, order_by)
            return
        for frame in rows.collect_batches(chunk_size=choose_batch_rows(estimate_row_bytes(rows))):
            yield from to_record_batches(frame)


@contextmanager
def _translate_errors(table: Table, kind: TableKind) -> Iterator[None]:
    """Translate the errors of a table's reader.

    Raises:
        SourceDownError: the storage cannot be reached.
        SourceError: the table cannot be read.
        StoreError: there is no disk space to sort it.
    """
    try:
        yield
    except ImportError as error:
        raise SourceError.of(
            f"{kind} tables cannot be read here: {error}",
            hint=describe_install(kind),
        ) from error
    except (*_READ_ERRORS, *_list_storage_errors(), *_list_library_errors(kind)) as error:
        raise _describe_error(error, table.uri, f"cannot be read as {kind}") from error


def _describe_error(error: Exception, uri: str, what: str) -> SourceError | StoreError:
    """Build the error: for a full disk, an unreachable storage, or a damaged table."""
    if found := build_disk_error(error, where="the temporary folder (TMPDIR)"):
        return found
    text = str(error).partition("\n\nThis error occurred")[0]
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|\u21b3", "", text).split())
    if any(message in text.lower() for message in _DOWN_MESSAGES):
        return SourceDownError.of(
            f"{uri} could not be reached: {text}", hint="run again once it is available"
        )
    return SourceError.of(
        f"{uri} {what}: {text}", hint="check that all of its files exist and may be read"
    )


def _list_storage_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of S3's client, where it is installed; they are no OSError."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return ()
    return (BotoCoreError, ClientError)


def _list_library_errors(kind: TableKind) -> tuple[type[Exception], ...]:
    """Return the exceptions of a format's library, where it is installed."""
    try:
        if kind == "delta":
            from deltalake.exceptions import DeltaError

            return (DeltaError,)
        from pyiceberg.exceptions import NoSuchTableError, NotInstalledError, ValidationError
    except ImportError:
        return ()
    return (NoSuchTableError, NotInstalledError, ValidationError)


def _open_table(table: Table, kind: TableKind) -> tuple[pl.LazyFrame, str]:
    """Scan the table at its pinned version or else the newest, and return that version.

    Raises:
        SourceError: the version is of another table, or does not exist.
    """
    opener = _open_delta if kind == "delta" else _open_iceberg
    identity, _, number = (table.version or "").rpartition("@")
    if table.version is not None and not re.fullmatch(r"-?\d+", number):
        raise SourceError.of(
            f"{table.uri}: '{table.version}' is no version of a {kind} table",
            hint="use a version that read_table_version() returned",
        )
    rows, found = opener(table.uri, int(number) if number else None)
    if identity and identity != found.rpartition("@")[0]:
        raise SourceError.of(
            f"{table.uri} is another table than it was: it was deleted and created again",
            found=f"Its id is {found.rpartition('@')[0]}; the requested version is of {identity}.",
            hint="read the table that exists now, without a version",
        )
    return rows, found


def _open_delta(uri: str, number: int | None) -> tuple[pl.LazyFrame, str]:
    """Scan a Delta table at a version, or at the newest."""
    from deltalake import DeltaTable

    table = DeltaTable(uri, version=number)
    return pl.scan_delta(table), f"{table.metadata().id}@{table.version()}"


def _open_iceberg(uri: str, number: int | None) -> tuple[pl.LazyFrame, str]:
    """Scan an Iceberg table at a snapshot, or the current one; 0 is a table without snapshots."""
    from pyiceberg.table import StaticTable

    table = max(
        (StaticTable.from_metadata(path, _FILE_IO) for path in find_newest_metadata(uri)),
        key=lambda found: found.metadata.last_updated_ms,
    )
    current = table.metadata.current_snapshot_id
    snapshot_id = current if number is None else number
    name = f"{table.metadata.table_uuid}@{snapshot_id or 0}"
    if not snapshot_id:
        return pl.scan_iceberg(table).head(0), name
    # With its id, so that the schema is that of the snapshot and not of the table.
    return pl.scan_iceberg(table, snapshot_id=snapshot_id), name


def _scan_range(table: Table, kind: TableKind, row_range: RowRange | None) -> pl.LazyFrame:
    """Scan the rows of a range; all rows for None."""
    rows = _open_table(table, kind)[0]
    if row_range is None:
        return rows
    columns = rows.collect_schema()
    check_column_exists(row_range.column, columns, table.uri)
    dtype = columns[row_range.column]
    where = f"{table.uri}: column '{row_range.column}'"
    if row_range.after is not None:
        rows = rows.filter(
            pl.col(row_range.column) > pl.lit(convert_bound(row_range.after, dtype, where), dtype)
        )
    if row_range.until is not None:
        until = pl.lit(convert_bound(row_range.until, dtype, where), dtype)
        rows = rows.filter(pl.col(row_range.column) <= until)
    return rows
