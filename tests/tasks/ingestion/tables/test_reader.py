"""Tables: databases and lakes are read as they are, in bounded memory, or say what is wrong."""

import base64
import datetime as dt
import errno
import json
import shutil
import sqlite3
import string
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import fsspec
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable

from tasks.dataset import external_sort
from tasks.errors import SourceDownError, SourceError, StoreError
from tasks.ingestion.tables import sqlite
from tasks.ingestion.tables.lakehouse import FILE_IO, newest_metadata
from tasks.ingestion.tables.reader import (
    Span,
    Table,
    count_rows,
    newest,
    read_batches,
    table_kind,
    table_schema,
    table_version,
)
from tests.support.postgres import Postgres, free_port

pytestmark = [
    # Polars asks for a faster planner of Iceberg's files; these tables have three.
    pytest.mark.filterwarnings("ignore:Iceberg scan planning"),
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

NOON = dt.datetime.fromisoformat("2024-01-01T12:00:00")
UUID = "5f0c3c52-7b1a-4c63-a3b4-0123456789ab"

SALES = pl.DataFrame(
    {
        "id": [1, 2, 3, 4, 5, 6],
        "at": [NOON + dt.timedelta(days=day) for day in (2, 0, 1, 1, 3)] + [None],
        "shop": ["a", "\u00fc\U0001f600", None, "a", "", "it's"],
        "kwh": [1.5, None, -0.0, 2.5, 1e300, 3.0],
    }
)

LATER = SALES.with_columns(id=pl.col("id") + 10, note=pl.lit("new"))


def rows_of(table: Table, span: Span | None = None, order_by: str | None = None) -> pl.DataFrame:
    batches = list(read_batches(table, span, order_by=order_by))
    return pl.DataFrame(pa.Table.from_batches(batches)) if batches else pl.DataFrame()


def make_sqlite(path: Path, *statements: str) -> str:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return f"sqlite:///{path}"


def write_sales(kind: str, folder: Path, request: pytest.FixtureRequest) -> Table:
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        server.sql(
            "DROP TABLE IF EXISTS sales",
            "CREATE TABLE sales (id bigint, at timestamp, shop text, kwh float8)",
            "INSERT INTO sales VALUES " + values(lambda at: f"'{at}'"),
        )
        return Table(uri=server.uri, query="sales")
    if kind == "sqlite":
        uri = make_sqlite(
            folder / "sales.db",
            "CREATE TABLE sales (id INTEGER, at INTEGER, shop TEXT, kwh REAL)",
            "INSERT INTO sales VALUES " + values(lambda at: str(int(at.timestamp()))),
        )
        return Table(uri=uri, query="sales")
    if kind == "delta":
        SALES.write_delta(str(folder / "sales"))
        return Table(uri=str(folder / "sales"))
    return Table(uri=make_iceberg(folder, SALES))


def values(write) -> str:
    def literal(value) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, dt.datetime):
            return write(value)
        return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)

    return ", ".join(f"({', '.join(map(literal, row))})" for row in SALES.iter_rows())


def make_iceberg(folder: Path, *frames: pl.DataFrame, warehouse: str | None = None) -> str:
    catalog = SqlCatalog(
        "c",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=warehouse or folder.as_uri(),
        **FILE_IO,
    )
    catalog.create_namespace("n")
    table = catalog.create_table("n.sales", schema=frames[0].to_arrow().schema)
    for frame in frames:
        with table.update_schema() as update:
            update.union_by_name(frame.to_arrow().schema)
        table.append(frame.to_arrow())
    catalog.close()
    return str(folder / "n" / "sales")


@pytest.fixture(params=["postgresql", "sqlite", "delta", "iceberg"])
def stored(request, tmp_path: Path) -> Table:
    return write_sales(request.param, tmp_path, request)


def expected_of(table: Table) -> pl.DataFrame:
    if table_kind(table.uri) == "sqlite":
        return SALES.with_columns(pl.col("at").dt.epoch("s"))
    return SALES


def test_every_kind_of_table_gives_back_its_rows(stored: Table) -> None:
    expected = expected_of(stored)

    found = rows_of(stored, order_by="id")

    assert found.equals(expected)
    assert table_schema(stored) == expected.schema
    assert count_rows(stored, None) == len(expected)


def test_a_span_holds_the_rows_after_and_until(stored: Table) -> None:
    times = expected_of(stored)["at"]
    after, until = times[1], times[0]
    span = Span(column="at", after=after, until=until)

    found = rows_of(stored, span, order_by="at")

    assert found["id"].to_list() == [3, 4, 1]
    assert count_rows(stored, span) == 3
    assert count_rows(stored, Span(column="at", after=after)) == 4
    assert count_rows(stored, Span(column="at", until=until)) == 4
    assert count_rows(stored, Span(column="at")) == 6
    assert rows_of(stored, Span(column="at", after=times[4])).is_empty()


def test_spans_that_meet_share_no_row_and_leave_none_out(stored: Table) -> None:
    times = expected_of(stored)["at"].drop_nulls().unique().sort()

    counts = [
        count_rows(stored, Span(column="at", after=after, until=until))
        for after, until in zip([None, *times], [*times, None], strict=True)
    ]

    assert counts == [1, 2, 1, 1, 0]


def test_order_puts_gaps_first_and_keeps_ties(stored: Table) -> None:
    found = rows_of(stored, order_by="at")["id"].to_list()

    assert found == [6, 2, 3, 4, 1, 5]


def test_newest_is_the_largest_value_that_is_there(stored: Table) -> None:
    expected = expected_of(stored)

    assert newest(stored, "at") == expected["at"].max()
    assert newest(stored, "id") == 6
    assert newest(stored, "kwh") == 1e300


def test_a_column_that_is_not_there_is_named_with_the_one_that_was_meant(stored: Table) -> None:
    with pytest.raises(SourceError, match=r"has no column 'shopp'.*\n.*\n.*'shop'"):
        newest(stored, "shopp")
    with pytest.raises(SourceError, match=r"has no column 'AT'.*\n.*\n.*'at'"):
        count_rows(stored, Span(column="AT", after=NOON))
    with pytest.raises(SourceError, match="has no column 'nope'"):
        rows_of(stored, order_by="nope")


def test_a_bound_of_another_type_is_refused(stored: Table) -> None:
    with pytest.raises(SourceError, match="'id' is Int64, which cannot be compared with '3'"):
        count_rows(stored, Span(column="id", after="3"))
    with pytest.raises(SourceError, match="'shop' is String, which cannot be compared with 3"):
        rows_of(stored, Span(column="shop", until=3))


def test_a_read_can_be_left_in_the_middle(stored: Table) -> None:
    batches = read_batches(stored, None, order_by="id")

    next(iter(batches))
    batches.close()

    assert count_rows(stored, None) == 6


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("postgresql://me@host:5432/db", "postgresql"),
        ("postgres://host/db", "postgresql"),
        ("sqlite:///file.db", "sqlite"),
        ("data/*.parquet", None),
        ("data/sales.parquet", None),
        ("postgresql://[::1]:5432/db?sslmode=verify-full", "postgresql"),
        ("s3://bucket-without-server/sales.csv", None),
        ("no/such/folder", None),
    ],
)
def test_the_kind_is_told_by_the_uri(uri: str, kind: str | None) -> None:
    assert table_kind(uri) == kind


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:s3cret@host/db",
        "postgresql://host/db?user=me&password=s3cret",
        "postgresql://host/db?sslPassword=s3cret",
        "postgresql://me:@host/db",
        "postgresql://me:s3/cr@et@host/db",
        "postgresql://me:s3cret@[::1",
        "host=here password = s3cret",
    ],
)
def test_a_password_in_the_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(SourceError, match=r"holds a password or a token\n.*PGPASSWORD") as caught:
        table_kind(uri)

    assert "s3cret" not in str(caught.value)


# PostgreSQL


def select(server: Postgres, text: str) -> Table:
    return Table(uri=server.uri, query=f"SELECT {text}")


TYPES = [
    ("1::smallint", pl.Int16, 1),
    ("1::int", pl.Int32, 1),
    ("9007199254740993", pl.Int64, 9007199254740993),
    ("4294967295::oid", pl.Int64, 4294967295),
    ("1.5::real", pl.Float32, 1.5),
    ("'infinity'::float8", pl.Float64, float("inf")),
    ("1234567890123456789.1::numeric(20, 1)", pl.Decimal(20, 1), Decimal("1234567890123456789.1")),
    ("(-0.05)::numeric(4, 2)", pl.Decimal(4, 2), Decimal("-0.05")),
    ("1e-3::numeric", pl.Float64, 0.001),
    ("'infinity'::numeric", pl.Float64, float("inf")),
    ("1e60::numeric(70, 2)", pl.Float64, 1e60),
    ("'19.5'::numeric(1, -1)", pl.Float64, 20.0),
    ("true", pl.Boolean, True),
    ("'\u00fc'::text", pl.String, "\u00fc"),
    ("'ab'::char(5)", pl.String, "ab"),
    ("'x'::name", pl.String, "x"),
    ("'\\x00ff'::bytea", pl.Binary, b"\x00\xff"),
    ("date '0001-01-01'", pl.Date, dt.date(1, 1, 1)),
    ("time '12:00:00.000001'", pl.Time, dt.time(12, 0, 0, 1)),
    ("time with time zone '12:00+02'", pl.String, "12:00:00+02"),
    ("timestamp '2024-01-01 12:00'", pl.Datetime("us"), NOON),
    ("timestamptz '2024-01-01 14:00+02'", pl.Datetime("us", "UTC"), NOON.replace(tzinfo=dt.UTC)),
    ("interval '1 day 2 seconds'", pl.Duration("us"), dt.timedelta(days=1, seconds=2)),
    ("interval '1 month'", pl.Duration("us"), dt.timedelta(days=30)),
    ("'{\"a\": [1]}'::json", pl.String, '{"a": [1]}'),
    ("'{\"a\":[1]}'::jsonb", pl.String, '{"a": [1]}'),
    (f"'{UUID}'::uuid", pl.String, UUID),
    ("ARRAY[1, NULL, 3]", pl.List(pl.Int32), [1, None, 3]),
    ("ARRAY['a', NULL]", pl.List(pl.String), ["a", None]),
    ("ARRAY[1.5]::numeric(4, 2)[]", pl.List(pl.Float64), [1.5]),
    (f"ARRAY['{UUID}'::uuid]", pl.List(pl.String), [UUID]),
    ("'{}'::int[]", pl.List(pl.Int32), []),
    ("'happy'::mood", pl.String, "happy"),
    ("7::positive", pl.Int32, 7),
    ("point '(1, 2)'", pl.String, "(1,2)"),
    ("ROW(1, 'a')::pair", pl.String, "(1,a)"),
    ("inet '10.0.0.1'", pl.String, "10.0.0.1/32"),
    ("int4range(1, 3)", pl.String, "[1,3)"),
]  # fmt: skip


@pytest.fixture(scope="session")
def typed(postgres: Postgres) -> Postgres:
    postgres.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (a int, b text)",
    )
    return postgres


@pytest.mark.parametrize(("sql", "dtype", "value"), TYPES)
def test_postgresql_types_come_as_they_are(typed: Postgres, sql: str, dtype, value) -> None:
    table = select(
        typed,
        f"v.x, n FROM (SELECT {sql} AS x) AS v RIGHT JOIN generate_series(1, 2) AS n ON n = 1",
    )

    found = rows_of(table, order_by="n")

    assert found.schema["x"] == dtype
    assert found["x"].to_list() == [value, None]
    assert table_schema(table) == found.schema


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("'infinity'::timestamptz", "infinity"),
        ("'-infinity'::timestamp", "-infinity"),
        ("'infinity'::date", "infinity"),
        ("timestamp '294276-12-31'", "294276-12-31"),
        ("ARRAY[time '24:00']", None),
        ("'[5:6]={1,2}'::int[]", None),
        ("ARRAY['infinity'::date]", "{infinity}"),
        ("time '24:00'", "24:00:00"),
        ("'NaN'::numeric(4, 2)", "NaN"),
        ("ARRAY[[1, 2], [3, 4]]", "{{1,2},{3,4}}"),
    ],
)
def test_what_arrow_cannot_hold_is_refused_by_column_and_value(
    typed: Postgres, sql: str, shown: str | None
) -> None:
    with pytest.raises(SourceError) as caught:
        rows_of(select(typed, f'{sql} AS "it\'s x"'))

    if shown is not None:
        assert f"column it's x holds {shown}" in str(caught.value)


def test_not_a_number_is_not_the_newest(postgres: Postgres) -> None:
    table = select(postgres, "x FROM (VALUES (1.5::float8), ('NaN'), (NULL)) AS v (x)")

    assert newest(table, "x") == 1.5
    assert newest(select(postgres, "NULL::date AS day"), "day") is None
    assert newest(select(postgres, f"'{UUID}'::uuid AS x"), "x") == UUID
    with pytest.raises(SourceError, match="outside of the years 1 to 9999"):
        newest(select(postgres, "date '4713-01-01 BC' AS day"), "day")
    assert newest(select(postgres, "1.10::numeric(4, 2) AS x"), "x") == Decimal("1.10")


@pytest.mark.parametrize(
    ("column", "after", "left"),
    [
        ("number", Decimal("2.00"), 1),
        ("day", dt.date(2024, 1, 2), 1),
        ("moment", dt.datetime(2024, 1, 2, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 1),
        ("moment", dt.datetime.fromisoformat("2024-01-02T00:00:00"), 1),
        ("local", dt.datetime(2024, 1, 2, tzinfo=dt.UTC), 1),
        ("word", "it's", 2),
        ("word", "'); DROP TABLE spanned; --", 3),
        ("ratio", 2, 1),
        ("place", "(2,0)", 1),
        ("uuid", UUID.replace("5", "2", 1), 1),
    ],
)
def test_postgresql_spans_go_by_every_type(postgres: Postgres, column, after, left: int) -> None:
    table = select(
        postgres,
        "g::numeric(6, 2) AS number, date '2024-01-01' + (g - 1) AS day, g::float8 AS ratio,"
        " timestamptz '2024-01-01Z' + (g - 1) * interval '1 day' AS moment,"
        " timestamp '2024-01-01' + (g - 1) * interval '1 day' AS local,"
        f" point(g, 0) AS place, (left('{UUID}', 0) || g || right('{UUID}', 35))::uuid AS uuid,"
        " (ARRAY['it''s', 'j', 'k'])[g] AS word FROM generate_series(1, 3) AS g",
    )

    assert count_rows(table, Span(column=column, after=after)) == left
    assert len(rows_of(table, Span(column=column, after=after), column)) == left


def test_names_are_quoted(postgres: Postgres) -> None:
    odd = 'ta"ble; DROP'
    postgres.sql(
        'DROP TABLE IF EXISTS "ta""ble; DROP"',
        'CREATE TABLE "ta""ble; DROP" ("se""lect" int, "sp ace" int)',
        'INSERT INTO "ta""ble; DROP" VALUES (1, 2)',
    )
    table = Table(uri=postgres.uri, query='public."' + odd.replace('"', '""') + '"')

    assert rows_of(table, Span(column='se"lect', after=0), "sp ace").rows() == [(1, 2)]
    assert newest(table, 'se"lect') == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1; SELECT 2", "several statements"),
        ("DELETE FROM sales", "neither a table's name nor a SELECT"),
        ("SELECT 1) AS t; DROP TABLE x; --", "several statements"),
        ("SELECT 1) AS t, (SELECT 2", "not closed"),
        ("SELECT 'a", "not closed"),
        ("my table", "neither"),
        ("  ", "needs to be told"),
        (None, "needs to be told"),
    ],
)
def test_a_query_that_is_not_one_select_is_refused(query: str | None, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        table_schema(Table(uri="postgresql://127.0.0.1:1/db", query=query))


def test_semicolons_in_texts_and_comments_are_no_statements(postgres: Postgres) -> None:
    query = "WITH a AS (SELECT ';' AS x) -- one; two\nSELECT x, $q$;)$q$ AS y /* ; ( */ FROM a ; "

    assert rows_of(Table(uri=postgres.uri, query=query)).rows() == [(";", ";)")]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 AS a, 2 AS a", "two columns are named 'a'"),
        ("SELECT FROM generate_series(1, 2)", "no column"),
        ("SELECT nope FROM pg_class", 'column "nope" does not exist'),
        ("SELECT idd FROM kept", "(.|\n)*Perhaps you meant.*id"),
        ("SELECT 1 / 0 AS x", "division by zero"),
        ("SELECT nextval('kept_id_seq') AS x", "read-only"),
        ("WITH gone AS (DELETE FROM kept RETURNING id) SELECT * FROM gone", "data-modifying"),
        ("keptt", "no table 'keptt'(.|\n)*did you mean 'kept'"),
        ("other.kept", "no table 'other.kept'"),
    ],
)
def test_what_postgresql_refuses_is_said(postgres: Postgres, query: str, said: str) -> None:
    postgres.sql("CREATE TABLE IF NOT EXISTS kept (id serial)")

    with pytest.raises(SourceError, match=said) as caught:
        rows_of(Table(uri=postgres.uri, query=query))

    assert not caught.value.transient
    assert "Mend: " in str(caught.value)


def test_an_empty_table_has_a_schema_and_no_batch(postgres: Postgres) -> None:
    postgres.sql("CREATE TABLE IF NOT EXISTS kept (id serial)")
    table = Table(uri=postgres.uri, query="kept")

    assert table_schema(table) == {"id": pl.Int32}
    assert list(read_batches(table, None, order_by="id")) == []
    assert newest(table, "id") is None
    assert table_version(table) is None
    with pytest.raises(SourceError, match="keeps no version"):
        table_schema(Table(uri=postgres.uri, query="kept", version="a@1"))


def test_all_of_one_read_is_one_snapshot(postgres: Postgres) -> None:
    postgres.sql(
        "DROP TABLE IF EXISTS grown",
        "CREATE TABLE grown AS SELECT g AS id, repeat('x', 900) AS x"
        " FROM generate_series(1, 40000) AS g",
    )
    batches = read_batches(Table(uri=postgres.uri, query="grown"), None, order_by=None)

    first = next(batches)
    postgres.sql("INSERT INTO grown SELECT 0, '' FROM generate_series(1, 1000)")
    rest = list(batches)

    assert len(rest) > 2
    assert first.num_rows + sum(batch.num_rows for batch in rest) == 40000


def test_a_table_dropped_between_two_reads_is_missed(postgres: Postgres) -> None:
    postgres.sql("CREATE TABLE short_lived (id int)")
    table = Table(uri=postgres.uri, query="short_lived")
    table_schema(table)

    postgres.sql("DROP TABLE short_lived")

    with pytest.raises(SourceError, match="no table 'short_lived'"):
        rows_of(table)


def test_a_server_that_is_not_there_is_transient() -> None:
    table = Table(uri=f"postgresql://me@127.0.0.1:{free_port()}/db", query="sales")

    with pytest.raises(SourceDownError, match="could not be reached") as caught:
        count_rows(table, None)

    assert caught.value.transient


@pytest.mark.parametrize("place", ["postgres@127.0.0.1:{}/nowhere", "nobody@127.0.0.1:{}/postgres"])
def test_a_database_or_user_that_is_not_there_is_final(postgres: Postgres, place: str) -> None:
    table = Table(uri="postgresql://" + place.format(postgres.port), query="sales")

    with pytest.raises(SourceError, match="does not exist") as caught:
        count_rows(table, None)

    assert not caught.value.transient


@pytest.mark.parametrize("how", ["session", "server"])
def test_a_server_killed_in_the_middle_of_a_read_is_transient(postgres: Postgres, how) -> None:
    table = select(postgres, "g, repeat('x', 1000) AS x FROM generate_series(1, 500000) AS g")
    batches = read_batches(table, None, order_by=None)
    next(batches)

    if how == "session":
        postgres.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    else:
        postgres.stop("immediate")

    with pytest.raises(SourceDownError, match="went away"):
        list(batches)
    if how == "server":
        postgres.start()


# SQLite


def test_sqlite_takes_a_declared_type_at_its_word(tmp_path: Path) -> None:
    uri = make_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (i INTEGER, r REAL, s VARCHAR(9), b BLOB, d DATE, f BOOLEAN, n NUMERIC, u)",
        "INSERT INTO t VALUES (NULL, 1, 5, x'00', '2024-01-01', 1, 1, NULL)",
        "INSERT INTO t VALUES (NULL, 2, 'x', x'', '2024-01-02', 0, 1.5, NULL)",
    )
    table = Table(uri=uri, query="t")

    found = rows_of(table)

    assert found.rows() == [
        (None, 1.0, "5", b"\x00", "2024-01-01", 1, 1.0, None),
        (None, 2.0, "x", b"", "2024-01-02", 0, 1.5, None),
    ]
    assert found.dtypes == [
        pl.Int64, pl.Float64, pl.String, pl.Binary, pl.String, pl.Int64, pl.Float64, pl.String
    ]  # fmt: skip
    assert found.schema == table_schema(table)


def test_sqlite_types_do_not_hang_on_the_first_rows(tmp_path: Path) -> None:
    uri = make_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER, late, mixed)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9000)"
        " INSERT INTO t SELECT n, iif(n > 8500, 'text', NULL), iif(n > 8500, n + 0.5, n) FROM s",
    )

    found = rows_of(Table(uri=uri, query="SELECT * FROM t"), order_by="id")

    assert found.dtypes == [pl.Int64, pl.String, pl.Float64]
    assert found.row(0) == (1, None, 1.0)
    assert found.row(8999) == (9000, "text", 9000.5)


@pytest.mark.parametrize("place", [10, 9000])
@pytest.mark.parametrize("query", ["t", "SELECT id, x FROM t"])
def test_sqlite_names_a_text_among_numbers(tmp_path: Path, place: int, query: str) -> None:
    uri = make_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER, x INTEGER)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9500)"
        " INSERT INTO t SELECT n, n FROM s",
        f"UPDATE t SET x = 'n/a' WHERE id = {place}",
    )

    with pytest.raises(SourceError, match=r"column 'x' mixes types.*'n/a', which is text"):
        rows_of(Table(uri=uri, query=query))


def test_sqlite_reads_only(tmp_path: Path) -> None:
    uri = make_sqlite(tmp_path / "a.db", "CREATE TABLE t (id INTEGER)")

    with pytest.raises(SourceError, match="neither a table's name nor a SELECT"):
        rows_of(Table(uri=uri, query="INSERT INTO t VALUES (1)"))
    with pytest.raises(SourceError, match="holds a parameter"):
        rows_of(Table(uri=uri, query="SELECT * FROM t WHERE id > ?"))
    assert count_rows(Table(uri=uri, query="t"), None) == 0
    assert rows_of(Table(uri=uri, query="t"), order_by="id").is_empty()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tt", "no table 'tt'(.|\n)*did you mean 't'"),
        ("SELECT nope FROM t", "no such column: nope"),
        ("SELECT a AS x, a AS x FROM t", "two columns are named 'x'"),
        ("SELECT FROM t", "syntax error"),
    ],
)
def test_what_sqlite_refuses_is_said(tmp_path: Path, query: str, said: str) -> None:
    uri = make_sqlite(tmp_path / "a.db", "CREATE TABLE t (a INTEGER)")

    with pytest.raises(SourceError, match=said):
        rows_of(Table(uri=uri, query=query))


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database " * 200)

    with pytest.raises(SourceError, match="file is not a database"):
        rows_of(Table(uri=f"sqlite:///{tmp_path}/a.db", query="t"))
    with pytest.raises(SourceError, match="names no file"):
        rows_of(Table(uri=f"sqlite:///{tmp_path}/b.db", query="t"))


MIXTURES = st.lists(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.binary(),
    )
)


@given(values=MIXTURES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sqlite_gives_back_every_column_or_refuses_it(tmp_path: Path, values: list) -> None:
    path = tmp_path / "mixed.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, x)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", enumerate(values))
    connection.close()
    kinds = {type(value) for value in values if value is not None}

    if kinds <= {int, float} or len(kinds) == 1:
        kind = float if len(kinds) == 2 else None
        expected = [v if v is None or kind is None else kind(v) for v in values]
        found = rows_of(Table(uri=f"sqlite:///{path}", query="t"), order_by="id")
        assert (found["x"].to_list() if values else []) == expected
    else:
        with pytest.raises(SourceError, match="column 'x' mixes types"):
            rows_of(Table(uri=f"sqlite:///{path}", query="t"))


WRITER = """
import sqlite3, sys
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute(sys.argv[2])
print("done", flush=True)
sys.stdin.readline()
"""


@contextmanager
def another_writer(path: Path, statement: str) -> Iterator[None]:
    """Write from a process of its own: SQLite's locks do not hold within one."""
    command = [sys.executable, "-c", WRITER, str(path), statement]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "done\n"
        yield
        writer.communicate("\n")


def test_sqlite_waits_for_a_writer_and_then_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    uri = make_sqlite(tmp_path / "a.db", "CREATE TABLE t (id INTEGER)")

    with (
        another_writer(tmp_path / "a.db", "BEGIN EXCLUSIVE"),
        pytest.raises(SourceDownError, match="another program has been writing"),
    ):
        count_rows(Table(uri=uri, query="t"), None)

    assert count_rows(Table(uri=uri, query="t"), None) == 0


def test_sqlite_is_read_as_it_was_when_the_read_began(tmp_path: Path) -> None:
    uri = make_sqlite(
        tmp_path / "a.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE t (id INTEGER)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)"
        " INSERT INTO t SELECT n FROM s",
    )
    batches = read_batches(Table(uri=uri, query="t"), None, order_by="id")

    first = next(batches)
    with another_writer(tmp_path / "a.db", "DELETE FROM t WHERE id > 100"):
        rest = list(batches)

    assert first.num_rows + sum(batch.num_rows for batch in rest) == 20000
    assert count_rows(Table(uri=uri, query="t"), None) == 100


def test_sqlite_text_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    uri = make_sqlite(
        tmp_path / "a.db", "CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES (CAST(x'ff' AS TEXT))"
    )

    with pytest.raises(SourceError, match="column 'x' cannot be read as string"):
        rows_of(Table(uri=uri, query="t"))


def test_large_cells_come_a_few_a_batch(tmp_path: Path) -> None:
    uri = make_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (x BLOB)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100)"
        " INSERT INTO t SELECT zeroblob(400000) FROM s",
    )

    batches = list(read_batches(Table(uri=uri, query="t"), None, order_by=None))

    assert sum(batch.num_rows for batch in batches) == 100
    assert max(batch.nbytes for batch in batches) < 10 * 2**20


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("deltalake", "delta"),
        ("pyiceberg.table", "iceberg"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch, module: str, extra: str
) -> None:
    mark = tmp_path / {"delta": "_delta_log", "iceberg": "metadata"}[extra]
    mark.mkdir()
    (mark / "v1.metadata.json").touch()
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"tasks.{extra}", raising=False)
    monkeypatch.delattr(f"tasks.{extra}", raising=False)

    with pytest.raises(SourceError, match=rf"pip install 'ostinato\[{extra}\]'"):
        table_schema(Table(uri=str(tmp_path)))


# Lakes


def test_a_pinned_delta_version_is_read_whatever_came_after(tmp_path: Path) -> None:
    table = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(table.uri)
    pinned = Table(uri=table.uri, version=table_version(table))

    LATER.write_delta(table.uri, mode="append", delta_write_options={"schema_mode": "merge"})

    assert_grown(table, pinned)


def test_a_pinned_iceberg_version_is_read_whatever_came_after(tmp_path: Path) -> None:
    table = Table(uri=make_iceberg(tmp_path, SALES, LATER))
    metadata = StaticTable.from_metadata(newest_metadata(table.uri)[0]).metadata
    first = metadata.snapshots[0].snapshot_id

    assert_grown(table, Table(uri=table.uri, version=f"{metadata.table_uuid}@{first}"))


def assert_grown(table: Table, pinned: Table) -> None:
    assert rows_of(pinned, order_by="id").equals(SALES)
    assert table_schema(pinned) == SALES.schema
    assert count_rows(pinned, None) == 6
    assert count_rows(table, None) == 12
    assert rows_of(table, order_by="id")["note"].to_list() == [None] * 6 + ["new"] * 6
    assert table_version(table) != table_version(pinned) == pinned.version


def test_delta_partitions_and_deleted_rows(tmp_path: Path) -> None:
    SALES.write_delta(str(tmp_path / "t"), delta_write_options={"partition_by": ["shop"]})
    DeltaTable(str(tmp_path / "t")).delete("id = 4")
    table = Table(uri=str(tmp_path / "t"))

    found = rows_of(table, Span(column="shop", after="", until="it's"), order_by="id")

    assert found["id"].to_list() == [1, 6]
    assert found.select("shop").rows() == [("a",), ("it's",)]


def inline_bitmap(*rows: int) -> str:
    """Write a deletion vector as Delta's log holds it: a portable Roaring bitmap in Z85."""
    bitmap = struct.pack("<iqi", 1681511377, 1, 0)
    bitmap += struct.pack("<iiHHI", 12346, 1, 0, len(rows) - 1, 16)
    bitmap += struct.pack(f"<{len(rows)}H", *rows)
    bitmap += b"\0" * (-len(bitmap) % 4)
    usual = string.digits + string.ascii_uppercase + string.ascii_lowercase
    z85 = string.digits + string.ascii_lowercase + string.ascii_uppercase
    return (
        base64.b85encode(bitmap)
        .decode()
        .translate(
            str.maketrans(usual + "!#$%&()*+-;<=>?@^_`{|}~", z85 + ".-:+=^!/*?&<>()[]{}@%$#")
        )
    )


def test_delta_rows_that_a_deletion_vector_hides_stay_hidden(tmp_path: Path) -> None:
    SALES.write_delta(
        str(tmp_path / "t"),
        delta_write_options={"configuration": {"delta.enableDeletionVectors": "true"}},
    )
    table = Table(uri=str(tmp_path / "t"))
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    first = [json.loads(line) for line in log.read_text().splitlines()]
    add = next(action["add"] for action in first if "add" in action)
    bitmap = inline_bitmap(1, 3)
    vector = {
        "storageType": "i",
        "pathOrInlineDv": bitmap,
        "sizeInBytes": len(bitmap) * 4 // 5,
        "cardinality": 2,
    }
    remove = {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}
    actions = [{"remove": remove}, {"add": add | {"deletionVector": vector}}]
    log.with_name(f"{1:020}.json").write_text("\n".join(map(json.dumps, actions)))

    assert rows_of(table, order_by="id")["id"].to_list() == [1, 3, 5, 6]
    assert count_rows(table, Span(column="id", after=1)) == 3
    assert count_rows(table, None) == 4


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_lakes_are_read_from_s3(kind: str, s3_bucket: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    uri = f"s3://{s3_bucket}/n/sales"
    if kind == "delta":
        SALES.write_delta(uri)
    else:
        make_iceberg(tmp_path, SALES, warehouse=f"s3://{s3_bucket}")
    table = Table(uri=uri)
    span = Span(column="id", after=1, until=5)

    assert table_kind(uri) == kind
    assert rows_of(table, span, "id").equals(SALES.slice(1, 4))
    pinned = Table(uri=uri, version=table_version(table))
    assert count_rows(pinned, None) == 6


def test_iceberg_columns_keep_their_rows_under_a_new_name(tmp_path: Path) -> None:
    table = Table(uri=make_iceberg(tmp_path, SALES))
    catalog = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri())
    stored = catalog.load_table("n.sales")
    before = table_version(table)

    with stored.update_schema() as update:
        update.rename_column("kwh", "energy")
    with stored.update_spec() as spec:
        spec.add_identity("shop")
    assert table_version(table) == before
    assert "kwh" in table_schema(table)
    stored.append(LATER.select("id", "at", "shop", energy="kwh").to_arrow())
    stored.delete("id = 11")
    catalog.close()

    found = rows_of(table, order_by="id")
    assert found["id"].to_list() == [1, 2, 3, 4, 5, 6, 12, 13, 14, 15, 16]
    assert found["energy"].to_list() == [*SALES["kwh"], *SALES["kwh"][1:]]
    assert rows_of(Table(uri=table.uri, version=before), order_by="id").equals(SALES)


def test_a_lake_made_anew_is_another_table(tmp_path: Path) -> None:
    table = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(table.uri)
    version = table_version(table)
    shutil.rmtree(table.uri)
    SALES.write_delta(table.uri)

    with pytest.raises(SourceError, match="another table than it was"):
        rows_of(Table(uri=table.uri, version=version))


def test_a_version_that_is_gone_is_said(tmp_path: Path) -> None:
    delta = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(delta.uri)
    iceberg = Table(uri=make_iceberg(tmp_path, SALES))

    for table in (delta, iceberg):
        identity = table_version(table).partition("@")[0]
        with pytest.raises(SourceError, match="cannot be read as"):
            rows_of(Table(uri=table.uri, version=f"{identity}@77"))
        with pytest.raises(SourceError, match="is no version"):
            rows_of(Table(uri=table.uri, version="newest"))


def test_a_lake_with_a_missing_file_is_said(tmp_path: Path) -> None:
    delta = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(delta.uri)
    iceberg = Table(uri=make_iceberg(tmp_path, SALES))

    for table in (delta, iceberg):
        for file in Path(table.uri).rglob("*.parquet"):
            file.unlink()
        with pytest.raises(SourceError, match="cannot be read as"):
            rows_of(table, order_by="id")


def test_an_iceberg_table_without_rows_has_a_schema(tmp_path: Path) -> None:
    table = Table(uri=make_iceberg(tmp_path, SALES.head(0)))

    assert table_schema(table) == SALES.schema
    assert rows_of(table, order_by="id").is_empty()
    assert newest(table, "id") is None
    assert rows_of(Table(uri=table.uri, version=table_version(table))).is_empty()


def test_a_lake_answers_no_query(tmp_path: Path) -> None:
    SALES.write_delta(str(tmp_path / "t"))

    with pytest.raises(SourceError, match="answers no query"):
        rows_of(Table(uri=str(tmp_path / "t"), query="SELECT 1"))
    with pytest.raises(SourceError, match="is no table"):
        rows_of(Table(uri=str(tmp_path)))


def test_a_storage_that_is_away_is_transient(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    with pytest.raises(SourceDownError, match="could not be reached"):
        table_kind("s3://bucket/table")
    with pytest.raises(SourceError, match="unknown"):
        table_kind("unknown://bucket/table")


def test_a_full_disk_is_not_blamed_on_the_table(tmp_path: Path, monkeypatch) -> None:
    def no_room(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    SALES.write_delta(str(tmp_path / "t"))
    monkeypatch.setattr(external_sort, "RANGE_BYTES", 64)
    monkeypatch.setattr(external_sort, "deal", no_room)

    with pytest.raises(StoreError, match=r"temporary folder.*No space left"):
        rows_of(Table(uri=str(tmp_path / "t")), order_by="id")


def test_delta_features_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    SALES.write_delta(str(tmp_path / "t"))
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for action in lines:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
    log.write_text("\n".join(map(json.dumps, lines)))

    with pytest.raises(SourceError, match="cannot be read as delta"):
        rows_of(Table(uri=str(tmp_path / "t")))


@pytest.mark.parametrize("column", ["number", "ratio", "word", "at", "day", "price", "common"])
def test_sorting_on_disk_agrees_with_sorting_in_memory(tmp_path: Path, monkeypatch, column) -> None:
    count = 5000
    rows = pl.select(number=pl.int_range(count)).select(
        pl.col("number").shuffle(seed=1),
        ratio=pl.when(pl.int_range(count) % 7 == 0).then(float("nan")).otherwise(
            pl.int_range(count).shuffle(seed=2) / 3
        ),
        word=pl.when(pl.int_range(count) % 5 > 0).then(
            pl.int_range(count).shuffle(seed=3).cast(pl.String)
        ),
        at=pl.lit(NOON.replace(tzinfo=dt.UTC))
        + pl.duration(hours=pl.int_range(count).shuffle(seed=4) // 50),
        day=pl.lit(NOON.date()) + pl.duration(days=pl.int_range(count).shuffle(seed=5) // 9),
        price=(pl.int_range(count).shuffle(seed=6) / 4).cast(pl.Decimal(12, 2)),
        common=pl.when(pl.int_range(count) % 10 > 0).then(1),
    )  # fmt: skip
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=512)
    monkeypatch.setattr(external_sort, "RANGE_BYTES", 10_000)

    found = pl.DataFrame(
        pa.Table.from_batches(list(external_sort.in_order(pl.scan_parquet(tmp_path / "*"), column)))
    )

    assert found.equals(rows.sort(column, maintain_order=True))
