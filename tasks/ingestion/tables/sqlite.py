"""How to read SQLite, where a column's type is a habit and any value may lie in any column.

The driver guesses a column's type from the first rows and fails at the first that differs. So the
types are settled here before: a declared INTEGER, REAL, TEXT or BLOB is taken at its word, any
other column is what its values are, for which SQLite looks at all of them. A first row of the
settled types then leaves the driver nothing to guess, and a value of another kind is refused by
its column's name.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote as percent

import pyarrow as pa
from adbc_driver_sqlite import dbapi

from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.tables.row_range import Bound, likely
from tasks.ingestion.tables.sql_dialect import BATCH_BYTES, Column, Parameters
from tasks.ingestion.tables.sql_query import name_parts, quote, relation

TYPES: dict[str, pa.DataType] = {
    "integer": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "blob": pa.binary(),
}

# A value of each type, for the row that settles what the driver reads.
SAMPLES = {"integer": "0", "real": "0.0", "text": "''", "blob": "x''"}

# SQLite's own rules, in its order; what they leave over may hold anything.
DECLARED = (
    ("INT", "integer"),
    ("CHAR", "text"),
    ("CLOB", "text"),
    ("TEXT", "text"),
    ("BLOB", "blob"),
    ("REAL", "real"),
    ("FLOA", "real"),
    ("DOUB", "real"),
)

MAX_BATCH_ROWS = 8192

BUSY_SECONDS = 30.0


def connect(uri: str) -> dbapi.Connection:
    """Open a file that is there, for reading only.

    Raises:
        SourceError: there is no such file.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.is_file():
        raise SourceError.of(
            f"{uri} names no file",
            found=f"Looked for {path} from {Path.cwd()}.",
            mend="write sqlite:///relative/file.db or sqlite:////absolute/file.db",
        )
    try:
        return dbapi.connect(f"file:{percent(str(path))}?mode=ro")
    except dbapi.Error as error:
        raise SourceError.of(
            f"{uri} cannot be opened: {error}", mend="give this user the right to read it"
        ) from error


def begin(cursor: dbapi.Cursor) -> None:
    """Wait for a writer to finish; the transaction that the driver began is one snapshot."""
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    cursor.fetchall()


def source(query: str | None) -> str:
    """Write a name or a SELECT as it stands after FROM; no value is left for it to bind."""
    return relation(query, forbidden=r"\?|[:@$]\w+")


def columns(cursor: dbapi.Cursor, source: str, query: str | None) -> list[Column]:
    """Describe what is read: by its declaration where that binds, else by its values."""
    try:
        cursor.execute(f"SELECT * FROM {source} AS t LIMIT 0")  # noqa: S608
    except dbapi.ProgrammingError as error:
        if "no such table: " not in str(error):
            raise
        raise no_table(cursor, error) from error
    names_found = cursor.fetch_record_batch().schema.names
    declared = declarations(cursor, query)
    if source.startswith("("):
        # SQLite has told the second x of a subquery from the first by calling it x:1.
        names_found = [re.sub(r":\d+$", "", name) for name in names_found]
    settled = {name: settle(declared.get(name, "")) for name in names_found}
    open_names = [name for name, kind in settled.items() if kind is None]
    looked = look(cursor, source, open_names) if open_names else {}
    return [column_of(name, settled[name] or looked[name]) for name in names_found]


def declarations(cursor: dbapi.Cursor, query: str | None) -> dict[str, str]:
    """Read the types that a table's columns were declared with."""
    parts = name_parts(query or "")
    if not parts:
        return {}
    cursor.execute(
        "SELECT name, upper(type) FROM pragma_table_xinfo(?1, ?2)",
        parameters=(parts[-1], parts[0] if len(parts) > 1 else "main"),
    )
    return dict(cursor.fetchall())


def settle(declared: str) -> str | None:
    """Take a declaration at its word; None where it promises nothing."""
    return next((kind for sign, kind in DECLARED if sign in declared), None)


def look(cursor: dbapi.Cursor, source: str, names: list[str]) -> dict[str, str]:
    """Find each column's type by what SQLite says of all of its values.

    Raises:
        SourceError: a column holds values that have no type in common.
    """
    # A bit for each kind; columns with none but gaps come as text.
    bits = {kind: 1 << index for index, kind in enumerate(TYPES)}
    asked = ", ".join(f"max(typeof(t.{quote(name)}) = '{kind}')" for name in names for kind in bits)
    cursor.execute(f"SELECT {asked} FROM {source} AS t")  # noqa: S608
    row = cursor.fetchall()[0]
    found = {}
    for index, name in enumerate(names):
        answers = row[index * len(bits) : (index + 1) * len(bits)]
        kinds = {kind for kind, seen in zip(bits, answers, strict=True) if seen}
        if kinds == {"integer", "real"}:
            kinds = {"real"}
        if len(kinds) > 1:
            kind = "integer" if kinds & {"integer", "real"} else "text"
            raise mixed(cursor, source, name, kind) or AssertionError(name)
        found[name] = kinds.pop() if kinds else "text"
    return found


def column_of(name: str, kind: str) -> Column:
    """Write a column so that it gives its type; whole numbers among real ones become real."""
    ref = f"t.{quote(name)}"
    real = f"CASE typeof({ref}) WHEN 'integer' THEN CAST({ref} AS REAL) ELSE {ref} END"
    return Column(
        name=name,
        expression=real if kind == "real" else ref,
        type=TYPES[kind],
        database_type=kind,
        order=ref,
    )


def bind(
    cursor: dbapi.Cursor,  # noqa: ARG001 -- the dialects are of one shape
    column: Column,  # noqa: ARG001 -- the dialects are of one shape
    bounds: Sequence[Bound],
) -> tuple[list[str], Parameters]:
    """Bind each bound as a parameter."""
    return [f"?{index}" for index, _ in enumerate(bounds, 1)], tuple(bounds)


def stream(
    cursor: dbapi.Cursor, source: str, sql: str, *, parameters: Parameters, columns: list[Column]
) -> Iterator[pa.RecordBatch]:
    """Execute, and return the batches as SQLite steps through the rows."""
    rows = batch_rows(cursor, source, columns)
    cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows)})
    first = ", ".join(SAMPLES[column.database_type] for column in columns)
    # The limit keeps SQLite from leaving out the order of what it takes for a mere subquery.
    cursor.execute(
        f"SELECT {first} UNION ALL SELECT * FROM (\n{sql}\nLIMIT -1)",  # noqa: S608
        parameters=parameters,
    )
    for index, batch in enumerate(cursor.fetch_record_batch()):
        if [field.type for field in batch.schema] != [column.type for column in columns]:
            raise pa.ArrowInvalid("Type mismatch")
        yield batch.slice(1) if index == 0 else batch


def batch_rows(cursor: dbapi.Cursor, source: str, columns: list[Column]) -> int:
    """Choose the rows of a batch so that one fits in memory, by the size of the first rows."""
    wide = [column.order for column in columns if column.database_type in {"text", "blob"}]
    sizes = " + ".join(f"coalesce(octet_length({ref}), 0)" for ref in wide) or "0"
    cursor.execute(
        f"SELECT sum({sizes}), count(*) FROM (SELECT * FROM {source} LIMIT 256) AS t"  # noqa: S608
    )
    ((total, count),) = cursor.fetchall()
    size = (total or 0) / max(1, count) + 8 * len(columns)
    return max(16, min(MAX_BATCH_ROWS, int(BATCH_BYTES / size)))


def names(cursor: dbapi.Cursor) -> list[str]:
    """List the tables and views there are."""
    cursor.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
    return [str(name) for (name,) in cursor.fetchall()]


def no_table(cursor: dbapi.Cursor, error: Exception) -> SourceError:
    """Say which tables there are in place of the one that is not."""
    name = words(error).partition("no such table: ")[2]
    known = names(cursor)
    return SourceError.of(
        f"source.query: the database has no table '{name}'",
        found=f"It has: {', '.join(known[:20]) or 'no table'}",
        mend=likely(name, known),
    )


def mixed(cursor: dbapi.Cursor, source: str, column: str, kind: str) -> SourceError | None:
    """Name a value that is not of its column's type; None where all are."""
    ref = f"t.{quote(column)}"
    kinds = "'real', 'integer'" if kind == "real" else f"'{kind}'"
    cursor.execute(
        f"SELECT typeof({ref}), substr({ref}, 1, 100) FROM {source} AS t"  # noqa: S608
        f" WHERE typeof({ref}) NOT IN ({kinds}, 'null') LIMIT 1"
    )
    if (row := cursor.fetchone()) is None:
        return None
    return SourceError.of(
        f"column '{column}' mixes types: it is {kind}, but holds {row[1]!r}, which is {row[0]}",
        mend=f"mend that value, or bring the column to one type: CAST({quote(column)} AS TEXT)",
    )


def explain(
    cursor: dbapi.Cursor, error: Exception, source: str, columns: list[Column]
) -> SourceError:
    """Say in our words what SQLite said."""
    text = words(error)
    if "database is locked" in text or "database is busy" in text:
        return SourceDownError.of(
            f"another program has been writing for {BUSY_SECONDS:.0f} seconds: {text}",
            mend="run again once it is done, or use WAL, where readers and writers do not wait",
        )
    if "Type mismatch" in text:
        for column in columns:
            if found := mixed(cursor, source, column.name, column.database_type):
                return found
    return SourceError.of(
        f"SQLite refused the read: {text}", mend="correct source.query, or what it names"
    )


def words(error: Exception) -> str:
    """Take the sentence out of the driver's message."""
    text = str(error).partition("\nquery: ")[0]
    return " ".join(text.rpartition("[SQLite] ")[2].split()) or type(error).__name__
