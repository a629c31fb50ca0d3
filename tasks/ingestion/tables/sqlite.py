"""The dialect of SQLite, where any column may hold values of any type.

The driver infers a column's type from the first rows and fails at the first that differs. So the
types are determined before: a column declared INTEGER, REAL, TEXT or BLOB has that type, any other
column the type of its values, of which SQLite checks all. A prepended row with a value of each
type then fixes what the driver infers, and a value of another type is refused with its column's
name.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote as percent

import pyarrow as pa
from adbc_driver_sqlite import dbapi

from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.tables.row_range import Bound, suggest_name
from tasks.ingestion.tables.sql_dialect import BATCH_BYTES, Column, Parameters
from tasks.ingestion.tables.sql_query import parse_relation, quote_name, split_name

_ARROW_TYPES: dict[str, pa.DataType] = {
    "integer": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "blob": pa.binary(),
}

# A value of each type, for the prepended row.
_SAMPLE_VALUES = {"integer": "0", "real": "0.0", "text": "''", "blob": "x''"}

# SQLite's rules of type affinity, in its order; other declarations promise no type.
_DECLARED_TYPES = (
    ("INT", "integer"),
    ("CHAR", "text"),
    ("CLOB", "text"),
    ("TEXT", "text"),
    ("BLOB", "blob"),
    ("REAL", "real"),
    ("FLOA", "real"),
    ("DOUB", "real"),
)

_MAX_BATCH_ROWS = 8192

BUSY_SECONDS = 30.0


def connect(uri: str) -> dbapi.Connection:
    """Open an existing file read-only.

    Raises:
        SourceError: there is no such file, or it may not be read.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.is_file():
        raise SourceError.of(
            f"{uri} names no file",
            found=f"Looked for {path} from {Path.cwd()}.",
            hint="write sqlite:///relative/file.db or sqlite:////absolute/file.db",
        )
    try:
        return dbapi.connect(f"file:{percent(str(path))}?mode=ro")
    except dbapi.Error as error:
        raise SourceError.of(
            f"{uri} cannot be opened: {error}", hint="give this user the right to read it"
        ) from error


def begin_snapshot(cursor: dbapi.Cursor) -> None:
    """Set how long to wait for a writer; the transaction that the driver began is one snapshot."""
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    cursor.fetchall()


def build_relation(query: str | None) -> str:
    """Write a table's name or a SELECT without parameters so that it can follow FROM."""
    return parse_relation(query, forbidden=r"\?|[:@$]\w+")


def describe_columns(cursor: dbapi.Cursor, relation: str, query: str | None) -> list[Column]:
    """Describe the columns of a relation, by their declaration or else by their values."""
    try:
        cursor.execute(f"SELECT * FROM {relation} AS t LIMIT 0")  # noqa: S608
    except dbapi.ProgrammingError as error:
        if "no such table: " not in str(error):
            raise
        raise _describe_missing_table(cursor, error) from error
    names_found = cursor.fetch_record_batch().schema.names
    declared = _read_declared_types(cursor, query)
    if relation.startswith("("):
        # SQLite renames the second x of a subquery to x:1.
        names_found = [re.sub(r":\d+$", "", name) for name in names_found]
    declared_types = {name: _match_declared_type(declared.get(name, "")) for name in names_found}
    undeclared = [name for name, kind in declared_types.items() if kind is None]
    inferred = _infer_types(cursor, relation, undeclared) if undeclared else {}
    return [_build_column(name, declared_types[name] or inferred[name]) for name in names_found]


def bind_values(
    cursor: dbapi.Cursor,  # noqa: ARG001 - part of the protocol
    column: Column,  # noqa: ARG001 - part of the protocol
    bounds: Sequence[Bound],
) -> tuple[list[str], Parameters]:
    """Bind each bound as a parameter of the statement."""
    return [f"?{index}" for index, _ in enumerate(bounds, 1)], tuple(bounds)


def stream_batches(
    cursor: dbapi.Cursor, relation: str, sql: str, *, parameters: Parameters, columns: list[Column]
) -> Iterator[pa.RecordBatch]:
    """Execute, and stream the batches as SQLite steps through the rows."""
    rows = _choose_batch_rows(cursor, relation, columns)
    cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows)})
    first = ", ".join(_SAMPLE_VALUES[column.database_type] for column in columns)
    # SQLite ignores the order of a subquery unless it has a limit.
    cursor.execute(
        f"SELECT {first} UNION ALL SELECT * FROM (\n{sql}\nLIMIT -1)",  # noqa: S608
        parameters=parameters,
    )
    for index, batch in enumerate(cursor.fetch_record_batch()):
        if [field.type for field in batch.schema] != [column.type for column in columns]:
            raise pa.ArrowInvalid("Type mismatch")
        yield batch.slice(1) if index == 0 else batch


def list_tables(cursor: dbapi.Cursor) -> list[str]:
    """List the tables and views."""
    cursor.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
    return [str(name) for (name,) in cursor.fetchall()]


def translate_error(
    cursor: dbapi.Cursor, error: Exception, relation: str, columns: list[Column]
) -> SourceError:
    """Build the error to raise for one of SQLite or the driver."""
    text = _extract_message(error)
    if "database is locked" in text or "database is busy" in text:
        return SourceDownError.of(
            f"another program has been writing for {BUSY_SECONDS:.0f} seconds: {text}",
            hint="run again once it is done, or use WAL, where readers and writers do not wait",
        )
    if "Type mismatch" in text:
        for column in columns:
            if fault := _find_mixed_value(cursor, relation, column.name, column.database_type):
                return fault
    return SourceError.of(
        f"SQLite refused the read: {text}", hint="correct source.query, or what it names"
    )


def _read_declared_types(cursor: dbapi.Cursor, query: str | None) -> dict[str, str]:
    """Read the declared types of a table's columns, in upper case; empty for a SELECT."""
    parts = split_name(query or "")
    if not parts:
        return {}
    cursor.execute(
        "SELECT name, upper(type) FROM pragma_table_xinfo(?1, ?2)",
        parameters=(parts[-1], parts[0] if len(parts) > 1 else "main"),
    )
    return dict(cursor.fetchall())


def _match_declared_type(declared: str) -> str | None:
    """Return the type that a declaration guarantees; None where it guarantees none."""
    return next((kind for text, kind in _DECLARED_TYPES if text in declared), None)


def _infer_types(cursor: dbapi.Cursor, relation: str, names: list[str]) -> dict[str, str]:
    """Find the type of each column from the types of all of its values.

    Raises:
        SourceError: a column has values without a common type.
    """
    # One flag for each column and type; columns with nulls only are text.
    types = list(_ARROW_TYPES)
    flags = ", ".join(
        f"max(typeof(t.{quote_name(name)}) = '{kind}')" for name in names for kind in types
    )
    cursor.execute(f"SELECT {flags} FROM {relation} AS t")  # noqa: S608
    row = cursor.fetchall()[0]
    inferred = {}
    for index, name in enumerate(names):
        found = row[index * len(types) : (index + 1) * len(types)]
        kinds = {kind for kind, is_present in zip(types, found, strict=True) if is_present}
        if kinds == {"integer", "real"}:
            kinds = {"real"}
        if len(kinds) > 1:
            kind = "integer" if kinds & {"integer", "real"} else "text"
            raise _find_mixed_value(cursor, relation, name, kind) or AssertionError(name)
        inferred[name] = kinds.pop() if kinds else "text"
    return inferred


def _build_column(name: str, kind: str) -> Column:
    """Describe a column; integers in a real column are cast to real."""
    ref = f"t.{quote_name(name)}"
    real = f"CASE typeof({ref}) WHEN 'integer' THEN CAST({ref} AS REAL) ELSE {ref} END"
    return Column(
        name=name,
        expression=real if kind == "real" else ref,
        type=_ARROW_TYPES[kind],
        database_type=kind,
        order=ref,
    )


def _choose_batch_rows(cursor: dbapi.Cursor, relation: str, columns: list[Column]) -> int:
    """Choose the rows of a batch from the size of the first 256, so that it fits in memory."""
    wide = [column.order for column in columns if column.database_type in {"text", "blob"}]
    sizes = " + ".join(f"coalesce(octet_length({ref}), 0)" for ref in wide) or "0"
    cursor.execute(
        f"SELECT sum({sizes}), count(*) FROM (SELECT * FROM {relation} LIMIT 256) AS t"  # noqa: S608
    )
    ((total, count),) = cursor.fetchall()
    size = (total or 0) / max(1, count) + 8 * len(columns)
    return max(16, min(_MAX_BATCH_ROWS, int(BATCH_BYTES / size)))


def _describe_missing_table(cursor: dbapi.Cursor, error: Exception) -> SourceError:
    """Build the error for a table that does not exist, with the names of those that do."""
    name = _extract_message(error).partition("no such table: ")[2]
    known = list_tables(cursor)
    return SourceError.of(
        f"source.query: the database has no table '{name}'",
        found=f"It has: {', '.join(known[:20]) or 'no table'}",
        hint=suggest_name(name, known),
    )


def _find_mixed_value(
    cursor: dbapi.Cursor, relation: str, column: str, kind: str
) -> SourceError | None:
    """Build the error for a value that is not of its column's type; None where all are."""
    ref = f"t.{quote_name(column)}"
    kinds = "'real', 'integer'" if kind == "real" else f"'{kind}'"
    cursor.execute(
        f"SELECT typeof({ref}), substr({ref}, 1, 100) FROM {relation} AS t"  # noqa: S608
        f" WHERE typeof({ref}) NOT IN ({kinds}, 'null') LIMIT 1"
    )
    if (row := cursor.fetchone()) is None:
        return None
    return SourceError.of(
        f"column '{column}' mixes types: it is {kind}, but holds {row[1]!r}, which is {row[0]}",
        hint="correct that value, or bring the column to one type: "
        f"CAST({quote_name(column)} AS TEXT)",
    )


def _extract_message(error: Exception) -> str:
    """Extract the database's own message from the driver's."""
    text = str(error).partition("\nquery: ")[0]
    return " ".join(text.rpartition("[SQLite] ")[2].split()) or type(error).__name__
