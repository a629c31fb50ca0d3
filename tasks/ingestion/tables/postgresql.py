"""How to read PostgreSQL: COPY in binary, with bounds that are bound as settings.

COPY is the one way in which the driver streams: a SELECT with parameters is held whole in memory
before the first row is seen. But COPY takes no parameters. So the bounds are bound to settings of
the transaction, and the query reads them with current_setting().
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow as pa
from adbc_driver_postgresql import dbapi

from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.tables.row_range import Bound, likely
from tasks.ingestion.tables.sql_dialect import BATCH_BYTES, Column, Parameters
from tasks.ingestion.tables.sql_query import quote, relation

# What the driver gives as it is.
PLAIN: dict[str, pa.DataType] = {
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

# Values that Arrow has no place for; the driver would turn them into wrong ones.
ODD = {
    "date": "NOT isfinite({ref})",
    "timestamp": "(NOT isfinite({ref}) OR {ref} > '200000-01-01')",
    "timestamptz": "(NOT isfinite({ref}) OR {ref} > '200000-01-01')",
    "time": "{ref} = '24:00'",
    "numeric": "{ref} = 'NaN'",
}

# What the server can order by as it is; the rest is ordered by its text.
SORTED = {*PLAIN, "numeric", "interval", "oid", "uuid", "bpchar", "name"}

DOWN_STATES = ("08", "57P", "53300", "40001", "40P01")
DOWN_WORDS = ("starting up", "shutting down", "too many", "recovery", "connection slots")

GONE_SIGNS = ("FATAL:", "PQgetCopyData() failed", "server closed", "conflict with recovery")

MENDS = {
    "42703": 'correct the column\'s name; PostgreSQL folds names to lower case unless "quoted"',
    "42501": "grant this user SELECT on it",
    "25006": "a source is only read: take what writes out of source.query",
}


def connect(uri: str) -> dbapi.Connection:
    """Open a connection; libpq takes the password from PGPASSWORD or ~/.pgpass.

    Raises:
        SourceError: the server refuses us; a SourceDownError where it could not be reached.
    """
    sign = "&" if "?" in uri else "?"
    options = ["fallback_application_name=ostinato"]
    # Without it a host that answers nothing is waited for during minutes.
    options += [] if "connect_timeout=" in uri else ["connect_timeout=30"]
    try:
        return dbapi.connect(uri + sign + "&".join(options))
    except dbapi.Error as error:
        text = words(error)
        passing = "FATAL" not in text or any(word in text for word in DOWN_WORDS)
        if passing and "password supplied" not in text:
            raise SourceDownError.of(
                f"{uri} could not be reached: {text}",
                mend="see that the server runs and that its address is right",
            ) from error
        raise SourceError.of(
            f"{uri} lets us not in: {text}",
            mend="correct user and database; a password goes to PGPASSWORD or ~/.pgpass",
        ) from error


def begin(cursor: dbapi.Cursor) -> None:
    """Begin one read-only snapshot; texts are UTF-8 and times without a zone are UTC."""
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    for setting in ("client_encoding = 'UTF8'", "TimeZone = 'UTC'", "DateStyle = 'ISO'"):
        cursor.execute(f"SET LOCAL {setting}")


def source(query: str | None) -> str:
    """Write a name or a SELECT as it stands after FROM."""
    return relation(query)


def columns(cursor: dbapi.Cursor, source: str, query: str | None) -> list[Column]:
    """Describe what is read, from the server's own description."""
    try:
        found = cursor.adbc_execute_schema(f"SELECT * FROM {source} AS t")  # noqa: S608
    except dbapi.ProgrammingError as error:
        if error.sqlstate != "42P01":
            raise
        raise no_table(cursor, error, query) from error
    return [column_of(field) for field in found]


def column_of(field: pa.Field) -> Column:
    """Choose how a column is read, by PostgreSQL's name for its type."""
    facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    kind = facts.get("POSTGRESQL:type", "unknown")
    ref = f"t.{quote(field.name)}"
    if pa.types.is_list(field.type):
        expression, sql_type, target = list_of(ref, kind.removeprefix("_"))
        odd: str | None = odd_list(ref, kind.removeprefix("_"))
    else:
        expression, sql_type, target = scalar(ref, kind, int(facts.get("POSTGRESQL:typmod", "-1")))
        odd = ODD[kind].format(ref=ref) if kind in ODD and sql_type == kind else None
    if odd is not None:
        # The server cannot make a value of this sentence, and says so, with the sentence.
        sentence = (
            "'" + f"column {field.name} holds ".replace("'", "''") + f"' || CAST({ref} AS text)"
        )
        expression = f"CASE WHEN {odd} THEN CAST({sentence} AS {sql_type}) ELSE {expression} END"
    return Column(
        name=field.name,
        expression=expression,
        type=target,
        database_type=kind,
        order=ref if kind.removeprefix("_") in SORTED else f"CAST({ref} AS text)",
    )


def scalar(ref: str, kind: str, typmod: int) -> tuple[str, str, pa.DataType]:
    """Return how a value is read: the SQL, its type there, and its type here."""
    if kind in PLAIN:
        return ref, kind, PLAIN[kind]
    if kind == "numeric":
        precision, scale = (typmod - 4) >> 16, (typmod - 4) & 0x7FF
        # Only a declared scale fits all values of the column; without one, a double.
        if typmod >= 4 and 0 < precision <= 38 and scale <= precision:
            return ref, kind, pa.decimal128(precision, scale)
        return f"CAST({ref} AS float8)", "float8", pa.float64()
    if kind == "interval":
        # A month counts as 30 days and a year as 365.25, as EXTRACT has it.
        return f"CAST(EXTRACT(epoch FROM {ref}) * 1000000 AS int8)", "int8", pa.duration("us")
    if kind == "oid":
        return f"CAST({ref} AS int8)", "int8", pa.int64()
    return f"CAST({ref} AS text)", "text", pa.string()


def list_of(ref: str, one: str) -> tuple[str, str, pa.DataType]:
    """Return how an array is read: as a list of what its values are read as."""
    if one in PLAIN:
        return ref, f"{one}[]", pa.list_(PLAIN[one])
    if one == "numeric":
        return f"CAST({ref} AS float8[])", "float8[]", pa.list_(pa.float64())
    return f"CAST({ref} AS text[])", "text[]", pa.list_(pa.string())


def odd_list(ref: str, one: str) -> str:
    """Tell which arrays are not read: the driver would flatten several dimensions into one."""
    if one in {"date", "timestamp", "timestamptz"}:
        infinite = f"'infinity' = ANY({ref}) OR '-infinity' = ANY({ref})"
        return f"(array_ndims({ref}) > 1 OR {infinite})"
    return f"array_ndims({ref}) > 1"


def bind(
    cursor: dbapi.Cursor, column: Column, bounds: Sequence[Bound]
) -> tuple[list[str], Parameters]:
    """Bind each bound to a setting of this transaction."""
    texts, kind = [], column.database_type
    for index, bound in enumerate(bounds):
        setting = f"ostinato.bound_{index}"
        text = bound.isoformat() if isinstance(bound, date) else str(bound)
        cursor.execute(f"SELECT set_config('{setting}', $1, true)", parameters=(text,))
        cursor.fetchall()
        texts.append(
            f"CAST(current_setting('{setting}') AS {quote(kind if kind in SORTED else 'text')})"
        )
    return texts, None


def stream(
    cursor: dbapi.Cursor,
    source: str,  # noqa: ARG001 -- the dialects are of one shape
    sql: str,
    *,
    parameters: Parameters,
    columns: list[Column],  # noqa: ARG001 -- the dialects are of one shape
) -> Iterator[pa.RecordBatch]:
    """Execute, and return the batches as the server sends them."""
    cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
    cursor.execute(sql, parameters=parameters)
    yield from cursor.fetch_record_batch()


def names(cursor: dbapi.Cursor) -> list[str]:
    """List the tables and views there are."""
    cursor.execute(
        "SELECT table_schema::text, table_name::text FROM information_schema.tables"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2 LIMIT 1000"
    )
    return [name if space == "public" else f"{space}.{name}" for space, name in cursor.fetchall()]


def no_table(cursor: dbapi.Cursor, error: Exception, query: str | None) -> SourceError:
    """Say which tables there are in place of the one that is not."""
    asked = re.search(r'relation "(.*?)" does not exist', str(error))
    name = asked[1] if asked else str(query)
    cursor.connection.rollback()
    known = names(cursor)
    return SourceError.of(
        f"source.query: the database has no table '{name}'",
        found=f"It has: {', '.join(known[:20]) or 'no table that this user sees'}",
        mend=likely(name, known),
    )


def explain(
    cursor: dbapi.Cursor,  # noqa: ARG001 -- the dialects are of one shape
    error: Exception,
    source: str,  # noqa: ARG001 -- the dialects are of one shape
    columns: list[Column],  # noqa: ARG001 -- the dialects are of one shape
) -> SourceError:
    """Say in our words what the server said."""
    text = words(error)
    state = getattr(error, "sqlstate", None) or ""
    # What ends the session is called fatal; what ends the statement alone, an error.
    gone = any(sign in str(error) for sign in GONE_SIGNS)
    if gone or state.startswith(DOWN_STATES):
        return SourceDownError.of(
            f"PostgreSQL went away during the read: {text}", mend="run again once it is back"
        )
    hint = re.search(r"HINT:\s+(.*)", str(error))
    mend = MENDS.get(state, "correct source.query, or what it names")
    mend = hint[1] if hint else mend
    if "holds" in text and "invalid input syntax" in text:
        mend = "leave such values out in a SELECT, for example with NULLIF(column, 'infinity')"
    return SourceError.of(f"PostgreSQL refused the read: {text}", mend=mend)


def words(error: Exception) -> str:
    """Take the sentence out of the driver's message."""
    text = str(error).partition("\nLINE ")[0].partition("\n\nQuery was")[0]
    text = re.sub(r"^.*?(?:ERROR|FATAL|failed):\s+", "", text, count=1, flags=re.DOTALL)
    return " ".join(text.split()) or type(error).__name__
