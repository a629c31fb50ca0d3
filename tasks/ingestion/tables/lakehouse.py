"""Read Delta Lake and Iceberg tables at one version, through Polars' scanners.

A version's name holds the table's id too: a table that was deleted and made anew under the same
name is another one. Filters are pushed down to the files' statistics. An Iceberg table is found by
its metadata files, so that no catalog is needed; its newest metadata file says what it holds.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import polars as pl
import pyarrow as pa

from tasks.dataset.external_sort import batch_rows, in_order, row_bytes, to_batches
from tasks.errors import SourceDownError, SourceError, StoreError
from tasks.ingestion.tables.row_range import (
    Bound,
    Kind,
    Span,
    Table,
    fit_bound,
    refuse_unknown,
    refuse_unordered,
)

# Its S3 heeds the same environment as all else here, down to an endpoint of one's own.
FILE_IO = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}

TROUBLE: tuple[type[Exception], ...] = (
    pl.exceptions.PolarsError,
    OSError,
    ValueError,
    OverflowError,
    # What a table's format allows and its reader has not learned.
    NotImplementedError,
)

DOWN_SIGNS = (
    "error sending request",
    "timed out",
    "timeout on",
    "connection refused",
    "could not connect",
)


@contextmanager
def trouble_named(table: Table, kind: Kind) -> Iterator[None]:
    """Say in our words what the table's reader said.

    Raises:
        SourceError: the table cannot be read; a SourceDownError where that may pass.
        StoreError: there is no room to sort it.
    """
    try:
        yield
    except ImportError as error:
        raise SourceError.of(
            f"{kind} tables cannot be read here: {error}",
            mend=f"pip install 'ostinato[{kind}]'",
        ) from error
    except (*TROUBLE, *storage_refusals(), *refusals(kind)) as error:
        raise named(error, table.uri, f"cannot be read as {kind}") from error


def named(error: Exception, uri: str, what: str) -> SourceError | StoreError:
    """Tell a storage that is away from a table that is damaged, and both from a full disk."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return StoreError.from_os(error, where="the temporary folder (TMPDIR)")
    text = str(error).partition("\n\nThis error occurred")[0]
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|\u21b3", "", text).split())
    if any(sign in text.lower() for sign in DOWN_SIGNS):
        return SourceDownError.of(
            f"{uri} could not be reached: {text}", mend="run again once it is back"
        )
    return SourceError.of(
        f"{uri} {what}: {text}", mend="see that its files are all there and may be read"
    )


def storage_refusals() -> tuple[type[Exception], ...]:
    """Return S3's own errors, which are of no common kind, where its package is installed."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return ()
    return (BotoCoreError, ClientError)


def lake_at(uri: str) -> Kind | None:
    """Look for a table's folder.

    Raises:
        SourceError: one cannot look there; a SourceDownError where that may pass.
    """
    expected: tuple[type[Exception], ...] = (OSError, ValueError, *storage_refusals())
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        if fs.isdir(f"{path}/_delta_log"):
            return "delta"
        return "iceberg" if fs.glob(f"{path}/metadata/*.metadata.json") else None
    except ImportError as error:
        raise SourceError.of(
            f"source.uri: '{uri}' cannot be opened: {error}",
            mend="install the package of that filesystem (s3fs for s3://)",
        ) from error
    except expected as error:
        raise named(error, f"source.uri: '{uri}'", "cannot be opened") from error


def refusals(kind: Kind) -> tuple[type[Exception], ...]:
    """Return the errors of the table's own library, where it is installed."""
    try:
        if kind == "delta":
            from deltalake.exceptions import DeltaError

            return (DeltaError,)
        from pyiceberg.exceptions import NoSuchTableError, NotInstalledError, ValidationError
    except ImportError:
        return ()
    return (NoSuchTableError, NotInstalledError, ValidationError)


def open_table(table: Table, kind: Kind) -> tuple[pl.LazyFrame, str]:
    """Scan the table at its pinned version, or at the newest; and tell which it is.

    Raises:
        SourceError: the version is of another table, or gone.
    """
    opener = open_delta if kind == "delta" else open_iceberg
    identity, _, number = (table.version or "").rpartition("@")
    if table.version is not None and not re.fullmatch(r"-?\d+", number):
        raise SourceError.of(
            f"{table.uri}: '{table.version}' is no version of a {kind} table",
            mend="take the version as table_version() told it",
        )
    rows, found = opener(table.uri, int(number) if number else None)
    if identity and identity != found.rpartition("@")[0]:
        raise SourceError.of(
            f"{table.uri} is another table than it was: it was deleted and made anew",
            found=f"Its id is {found.rpartition('@')[0]}; the version asked for is of {identity}.",
            mend="begin anew with the table that is there now",
        )
    return rows, found


def open_delta(uri: str, number: int | None) -> tuple[pl.LazyFrame, str]:
    """Scan a Delta table."""
    from deltalake import DeltaTable

    table = DeltaTable(uri, version=number)
    return pl.scan_delta(table), f"{table.metadata().id}@{table.version()}"


def open_iceberg(uri: str, number: int | None) -> tuple[pl.LazyFrame, str]:
    """Scan an Iceberg table; snapshot 0 stands for the table before its first rows."""
    from pyiceberg.table import StaticTable

    table = max(
        (StaticTable.from_metadata(path, FILE_IO) for path in newest_metadata(uri)),
        key=lambda found: found.metadata.last_updated_ms,
    )
    current = table.metadata.current_snapshot_id
    wanted = current if number is None else number
    name = f"{table.metadata.table_uuid}@{wanted or 0}"
    if not wanted:
        return pl.scan_iceberg(table).head(0), name
    # Named, so that the schema is the snapshot's own, as it will be when it is read again.
    return pl.scan_iceberg(table, snapshot_id=wanted), name


def newest_metadata(uri: str) -> list[str]:
    """Find the metadata file with the highest number; two writers may have left two."""
    fs, path = fsspec.core.url_to_fs(uri)
    found = fs.glob(f"{path}/metadata/*.metadata.json")
    numbers = {
        name: int(match[1])
        for name in found
        if (match := re.match(r"v?(\d+)", name.rpartition("/")[2]))
    }
    newest = [name for name in found if numbers.get(name, -1) == max(numbers.values(), default=-1)]
    return [fs.unstrip_protocol(name) for name in newest]


def version(table: Table, kind: Kind) -> str:
    """Tell the table's id and the version that a read would find."""
    with trouble_named(table, kind):
        return open_table(table, kind)[1]


def schema(table: Table, kind: Kind) -> pl.Schema:
    """Tell the columns and their types, from the table's log alone."""
    with trouble_named(table, kind):
        return open_table(table, kind)[0].collect_schema()


def spanned(table: Table, kind: Kind, span: Span | None) -> pl.LazyFrame:
    """Scan the rows of a span."""
    rows = open_table(table, kind)[0]
    if span is None:
        return rows
    columns = rows.collect_schema()
    refuse_unknown(span.column, columns, table.uri)
    dtype = columns[span.column]
    where = f"{table.uri}: column '{span.column}'"
    if span.after is not None:
        rows = rows.filter(pl.col(span.column) > pl.lit(fit_bound(span.after, dtype, where), dtype))
    if span.until is not None:
        until = pl.lit(fit_bound(span.until, dtype, where), dtype)
        rows = rows.filter(pl.col(span.column) <= until)
    return rows


def count(table: Table, kind: Kind, span: Span | None) -> int:
    """Count the rows of a span."""
    with trouble_named(table, kind):
        return int(spanned(table, kind, span).select(pl.len()).collect(engine="streaming").item())


def newest(table: Table, kind: Kind, column: str) -> Bound | None:
    """Find the largest value of a column; None where it has none."""
    with trouble_named(table, kind):
        rows = open_table(table, kind)[0]
        columns = rows.collect_schema()
        refuse_unknown(column, columns, table.uri)
        refuse_unordered(column, columns[column], table.uri)
        values = pl.col(column).drop_nans() if columns[column].is_float() else pl.col(column)
        found: Bound | None = rows.select(values.max()).collect(engine="streaming").item()
        return found


def read(
    table: Table, kind: Kind, span: Span | None, order_by: str | None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a span."""
    with trouble_named(table, kind):
        rows = spanned(table, kind, span)
        columns = rows.collect_schema()
        refuse_unknown(order_by, columns, table.uri)
        if order_by is not None:
            refuse_unordered(order_by, columns[order_by], table.uri)
            yield from in_order(rows, order_by)
            return
        for frame in rows.collect_batches(chunk_size=batch_rows(row_bytes(rows))):
            yield from to_batches(frame)
