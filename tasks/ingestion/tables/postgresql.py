"""The dialect of PostgreSQL: binary COPY, with bounds passed through settings.

The driver streams by COPY only: the result of a SELECT with parameters is first loaded into memory
as a whole. COPY takes no parameters, so the bounds are bound to settings of the transaction, which
the query reads with current_setting().
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow as pa
from adbc_driver_postgresql import dbapi

from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.tables.row_range import Bound, suggest_name
from tasks.ingestion.tables.sql_dialect import BATCH_BYTES, Column, Parameters
from tasks.ingestion.tables.sql_query import parse_relation, quote_name

# Types that the driver reads without a cast.
_ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}

# Values that Arrow cannot represent; the driver would return wrong ones.
_UNREPRESENTABLE = {
    "date": "NOT isfinite({ref})",
    "timestamp": "(NOT isfinite({ref}) OR {ref} > '200000-01-01')",
    "timestamptz": "(NOT isfinite({ref}) OR {ref} > '200000-01-01')",
    "time": "{ref} = '24:00'",
    "numeric": "{ref} = 'NaN'",
}

# Types that are sorted by value; all others are sorted by their text.
_SORTABLE_TYPES = {*_ARROW_TYPES, "numeric", "interval", "oid", "uuid", "bpchar", "name"}

_DOWN_STATES = ("08", "57P", "53300", "40001", "40P01")
_DOWN_MESSAGES = ("starting up", "shutting down", "too many", "recovery", "connection slots")

_LOST_CONNECTION_MESSAGES = (
    "FATAL:",
    "PQgetCopyData() failed",
    "server closed",
    "conflict with recovery",
)

_HINTS = {
    "42703": 'correct the column\'s name; PostgreSQL folds names to lower case unless "quoted"',
    "42501": "grant this user SELECT on it",
    "25006": "a source is read-only: remove what writes from source.query",
}


def connect(uri: str) -> dbapi.Connection:
    """Open a connection; libpq takes the password from PGPASSWORD or ~/.pgpass.

    Raises:
        SourceDownError: the server cannot be reached.
        SourceError: the server refuses the login.
    """
    separator = "&" if "?" in uri else "?"
    options = ["fallback_application_name=ostinato"]
    # Without a timeout, a host that does not respond blocks for minutes.
    options += [] if "connect_timeout=" in uri else ["connect_timeout=30"]
    try:
        return dbapi.connect(uri + separator + "&".join(options))
    except dbapi.Error as error:
        text = _extract_message(error)
        transient = "FATAL" not in text or any(word in text for word in _DOWN_MESSAGES)
        if transient and "password supplied" not in text:
            raise SourceDownError.of(
                f"{uri} could not be reached: {text}",
                hint="check that the server runs and that its address is correct",
            ) from error
        raise SourceError.of(
            f"{uri} refuses the login: {text}",
            hint="correct user and database; set the password in PGPASSWORD or ~/.pgpass",
        ) from error


def begin_snapshot(cursor: dbapi.Cursor) -> None:
    """Begin a read-only transaction on one snapshot, with texts in UTF-8 and times in UTC."""
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    for setting in ("client_encoding = 'UTF8'", "TimeZone = 'UTC'", "DateStyle = 'ISO'"):
        cursor.execute(f"SET LOCAL {setting}")


def build_relation(query: str | None) -> str:
    """Write a table's name or a SELECT so that it can follow FROM."""
    return parse_relation(query)


def describe_columns(cursor: dbapi.Cursor, relation: str, query: str | None) -> list[Column]:
    """Describe the columns of a relation, from the server's description."""
    try:
        schema = cursor.adbc_execute_schema(f"SELECT * FROM {relation} AS t")  # noqa: S608
    except dbapi.ProgrammingError as error:
        if error.sqlstate != "42P01":
            raise
        raise _describe_missing_table(cursor, error, query) from error
    return [_build_column(field) for field in schema]


def bind_values(
    cursor: dbapi.Cursor, column: Column, bounds: Sequence[Bound]
) -> tuple[list[str], Parameters]:
    """Bind each bound to a setting of this transaction; return SQL that reads it back."""
    expressions, kind = [], column.database_type
    sql_type = quote_name(kind if kind in _SORTABLE_TYPES else "text")
    for index, bound in enumerate(bounds):
        setting = f"ostinato.bound_{index}"
        text = bound.isoformat() if isinstance(bound, date) else str(bound)
        cursor.execute(f"SELECT set_config('{setting}', $1, true)", parameters=(text,))
        cursor.fetchall()
        expressions.append(f"CAST(current_setting('{setting}') AS {sql_type})")
    return expressions, None


def stream_batches(
    cursor: dbapi.Cursor,
    relation: str,  # noqa: ARG001 - part of the protocol
    sql: str,
    *,
    parameters: Parameters,
    columns: list[Column],  # noqa: ARG001 - part of the protocol
) -> Iterator[pa.RecordBatch]:
    """Execute, and stream the batches as the server sends them."""
    cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
    cursor.execute(sql, parameters=parameters)
    yield from cursor.fetch_record_batch()


def list_tables(cursor: dbapi.Cursor) -> list[str]:
    """List the tables and views."""
    cursor.execute(
        "SELECT table_schema::text, table_name::text FROM information_schema.tables"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2 LIMIT 1000"
    )
    return [name if space == "public" else f"{space}.{name}" for space, name in cursor.fetchall()]


def translate_error(
    cursor: dbapi.Cursor,  # noqa: ARG001 - part of the protocol
    error: Exception,
    relation: str,  # noqa: ARG001 - part of the protocol
    columns: list[Column],  # noqa: ARG001 - part of the protocol
) -> SourceError:
    """Build the error to raise for one of the server or driver."""
    text = _extract_message(error)
    state = getattr(error, "sqlstate", None) or ""
    # FATAL ends the session, ERROR only the statement.
    lost = any(text in str(error) for text in _LOST_CONNECTION_MESSAGES)
    if lost or state.startswith(_DOWN_STATES):
        return SourceDownError.of(
            f"PostgreSQL was lost during the read: {text}", hint="run again once it is available"
        )
    server_hint = re.search(r"HINT:\s+(.*)", str(error))
    hint = _HINTS.get(state, "correct source.query, or what it names")
    hint = server_hint[1] if server_hint else hint
    if "holds" in text and "invalid input syntax" in text:
        hint = "exclude such values by a SELECT, for example with NULLIF(column, 'infinity')"
    return SourceError.of(f"PostgreSQL refused the read: {text}", hint=hint)


def _build_column(field: pa.Field) -> Column:
    """Choose how a column is read, by PostgreSQL's name for its type.

    The expression fails on a value that Arrow cannot represent, with a message of ours.
    """
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    kind = metadata.get("POSTGRESQL:type", "unknown")
    ref = f"t.{quote_name(field.name)}"
    if pa.types.is_list(field.type):
        expression, sql_type, target = _convert_list(ref, kind.removeprefix("_"))
        condition: str | None = _build_list_check(ref, kind.removeprefix("_"))
    else:
        expression, sql_type, target = _convert_scalar(
            ref, kind, int(metadata.get("POSTGRESQL:typmod", "-1"))
        )
        is_checked = kind in _UNREPRESENTABLE and sql_type == kind
        condition = _UNREPRESENTABLE[kind].format(ref=ref) if is_checked else None
    if condition is not None:
        # The cast of this text fails, and the server's error message quotes the text.
        message = (
            "'" + f"column {field.name} holds ".replace("'", "''") + f"' || CAST({ref} AS text)"
        )
        expression = (
            f"CASE WHEN {condition} THEN CAST({message} AS {sql_type}) ELSE {expression} END"
        )
    return Column(
        name=field.name,
        expression=expression,
        type=target,
        database_type=kind,
        order=ref if kind.removeprefix("_") in _SORTABLE_TYPES else f"CAST({ref} AS text)",
    )


def _convert_scalar(ref: str, kind: str, typmod: int) -> tuple[str, str, pa.DataType]:
    """Return SQL that reads a value, the SQL type of it, and its Arrow type."""
    if kind in _ARROW_TYPES:
        return ref, kind, _ARROW_TYPES[kind]
    if kind == "numeric":
        precision, scale = (typmod - 4) >> 16, (typmod - 4) & 0x7FF
        # Without a declared scale no decimal type fits all values: read as float8.
        if typmod >= 4 and 0 < precision <= 38 and scale <= precision:
            return ref, kind, pa.decimal128(precision, scale)
        return f"CAST({ref} AS float8)", "float8", pa.float64()
    if kind == "interval":
        # EXTRACT counts a month as 30 days and a year as 365.25 days.
        return f"CAST(EXTRACT(epoch FROM {ref}) * 1000000 AS int8)", "int8", pa.duration("us")
    if kind == "oid":
        return f"CAST({ref} AS int8)", "int8", pa.int64()
    return f"CAST({ref} AS text)", "text", pa.string()


def _convert_list(ref: str, one: str) -> tuple[str, str, pa.DataType]:
    """Return SQL that reads an array, the SQL type of it, and its Arrow type."""
    if one in _ARROW_TYPES:
        return ref, f"{one}[]", pa.list_(_ARROW_TYPES[one])
    if one == "numeric":
        return f"CAST({ref} AS float8[])", "float8[]", pa.list_(pa.float64())
    return f"CAST({ref} AS text[])", "text[]", pa.list_(pa.string())


def _build_list_check(ref: str, one: str) -> str:
    """Write the SQL condition for arrays that cannot be read.

    The driver would flatten several dimensions into one, and Arrow has no infinite times.
    """
    if one in {"date", "timestamp", "timestamptz"}:
        infinite = f"'infinity' = ANY({ref}) OR '-infinity' = ANY({ref})"
        return f"(array_ndims({ref}) > 1 OR {infinite})"
    return f"array_ndims({ref}) > 1"


def _describe_missing_table(
    cursor: dbapi.Cursor, error: Exception, query: str | None
) -> SourceError:
    """Build the error for a table that does not exist, with the names of those that do."""
    match = re.search(r'relation "(.*?)" does not exist', str(error))
    name = match[1] if match else str(query)
    cursor.connection.rollback()
    known = list_tables(cursor)
    return SourceError.of(
        f"source.query: the database has no table '{name}'",
        found=f"It has: {', '.join(known[:20]) or 'no table that this user can see'}",
        hint=suggest_name(name, known),
    )


def _extract_message(error: Exception) -> str:
    """Extract the database's own message from the driver's."""
    text = str(error).partition("\nLINE ")[0].partition("\n\nQuery was")[0]
    text = re.sub(r"^.*?(?:ERROR|FATAL|failed):\s+", "", text, count=1, flags=re.DOTALL)
    return " ".join(text.split()) or type(error).__name__
