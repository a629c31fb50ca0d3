"""PostgreSQL is read type by type on one snapshot, and its errors name what to fix."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.tables.reader import (
    RowRange,
    Table,
    count_rows,
    find_newest,
    read_batches,
    read_table_schema,
    read_table_version,
)
from tests.support.postgres import Postgres, find_free_port
from tests.support.tables import NOON, read_rows

UUID = "5f0c3c52-7b1a-4c63-a3b4-0123456789ab"


def build_select(server: Postgres, text: str) -> Table:
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
def postgres_with_types(postgres: Postgres) -> Postgres:
    postgres.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (a int, b text)",
    )
    return postgres


@pytest.mark.parametrize(("sql", "dtype", "value"), TYPES)
def test_postgresql_types_are_read_as_arrow_types(
    postgres_with_types: Postgres, sql: str, dtype, value
) -> None:
    table = build_select(
        postgres_with_types,
        f"v.x, n FROM (SELECT {sql} AS x) AS v RIGHT JOIN generate_series(1, 2) AS n ON n = 1",
    )

    rows = read_rows(table, order_by="n")

    assert rows.schema["x"] == dtype
    assert rows["x"].to_list() == [value, None]
    assert read_table_schema(table) == rows.schema


@pytest.mark.parametrize(
    ("sql", "message_value"),
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
def test_values_that_arrow_cannot_represent_are_refused_by_column_and_value(
    postgres_with_types: Postgres, sql: str, message_value: str | None
) -> None:
    with pytest.raises(SourceError) as caught:
        read_rows(build_select(postgres_with_types, f'{sql} AS "it\'s x"'))

    if message_value is not None:
        assert f"column it's x holds {message_value}" in str(caught.value)


def test_nan_is_not_the_newest_value(postgres: Postgres) -> None:
    table = build_select(postgres, "x FROM (VALUES (1.5::float8), ('NaN'), (NULL)) AS v (x)")

    assert find_newest(table, "x") == 1.5
    assert find_newest(build_select(postgres, "NULL::date AS day"), "day") is None
    assert find_newest(build_select(postgres, f"'{UUID}'::uuid AS x"), "x") == UUID
    with pytest.raises(SourceError, match="outside of the years 1 to 9999"):
        find_newest(build_select(postgres, "date '4713-01-01 BC' AS day"), "day")
    assert find_newest(build_select(postgres, "1.10::numeric(4, 2) AS x"), "x") == Decimal("1.10")


@pytest.mark.parametrize(
    ("column", "after", "remaining"),
    [
        ("number", Decimal("2.00"), 1),
        ("day", dt.date(2024, 1, 2), 1),
        ("moment", dt.datetime(2024, 1, 2, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 1),
        ("moment", dt.datetime.fromisoformat("2024-01-02T00:00:00"), 1),
        ("local", dt.datetime(2024, 1, 2, tzinfo=dt.UTC), 1),
        ("word", "it's", 2),
        ("word", "'); DROP TABLE ranged; --", 3),
        ("ratio", 2, 1),
        ("point", "(2,0)", 1),
        ("uuid", UUID.replace("5", "2", 1), 1),
    ],
)
def test_ranges_compare_values_of_every_type(
    postgres: Postgres, column, after, remaining: int
) -> None:
    table = build_select(
        postgres,
        "g::numeric(6, 2) AS number, date '2024-01-01' + (g - 1) AS day, g::float8 AS ratio,"
        " timestamptz '2024-01-01Z' + (g - 1) * interval '1 day' AS moment,"
        " timestamp '2024-01-01' + (g - 1) * interval '1 day' AS local,"
        f" point(g, 0) AS point, (left('{UUID}', 0) || g || right('{UUID}', 35))::uuid AS uuid,"
        " (ARRAY['it''s', 'j', 'k'])[g] AS word FROM generate_series(1, 3) AS g",
    )

    assert count_rows(table, RowRange(column=column, after=after)) == remaining
    assert len(read_rows(table, RowRange(column=column, after=after), column)) == remaining


def test_names_are_quoted(postgres: Postgres) -> None:
    odd = 'ta"ble; DROP'
    postgres.sql(
        'DROP TABLE IF EXISTS "ta""ble; DROP"',
        'CREATE TABLE "ta""ble; DROP" ("se""lect" int, "sp ace" int)',
        'INSERT INTO "ta""ble; DROP" VALUES (1, 2)',
    )
    table = Table(uri=postgres.uri, query='public."' + odd.replace('"', '""') + '"')

    assert read_rows(table, RowRange(column='se"lect', after=0), "sp ace").rows() == [(1, 2)]
    assert find_newest(table, 'se"lect') == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1 AS a, 2 AS a", "two columns are named 'a'"),
        ("SELECT FROM generate_series(1, 2)", "no column"),
        ("SELECT nope FROM pg_class", 'column "nope" does not exist'),
        ("SELECT idd FROM stored_rows", "(.|\n)*Perhaps you meant.*id"),
        ("SELECT 1 / 0 AS x", "division by zero"),
        ("SELECT nextval('stored_rows_id_seq') AS x", "read-only"),
        (
            "WITH deleted AS (DELETE FROM stored_rows RETURNING id) SELECT * FROM deleted",
            "data-modifying",
        ),
        ("stored_rowst", "no table 'stored_rowst'(.|\n)*did you mean 'stored_rows'"),
        ("other.stored_rows", "no table 'other.stored_rows'"),
    ],
)
def test_errors_of_postgresql_are_explained(postgres: Postgres, query: str, message: str) -> None:
    postgres.sql("CREATE TABLE IF NOT EXISTS stored_rows (id serial)")

    with pytest.raises(SourceError, match=message) as caught:
        read_rows(Table(uri=postgres.uri, query=query))

    assert not caught.value.transient
    assert "Hint: " in str(caught.value)


def test_an_empty_table_has_a_schema_and_no_batch(postgres: Postgres) -> None:
    postgres.sql("CREATE TABLE IF NOT EXISTS stored_rows (id serial)")
    table = Table(uri=postgres.uri, query="stored_rows")

    assert read_table_schema(table) == {"id": pl.Int32}
    assert list(read_batches(table, None, order_by="id")) == []
    assert find_newest(table, "id") is None
    assert read_table_version(table) is None
    with pytest.raises(SourceError, match="has no version"):
        read_table_schema(Table(uri=postgres.uri, query="stored_rows", version="a@1"))


def test_all_batches_of_a_read_are_of_one_database_snapshot(postgres: Postgres) -> None:
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


def test_a_table_dropped_between_two_reads_is_reported(postgres: Postgres) -> None:
    postgres.sql("CREATE TABLE short_lived (id int)")
    table = Table(uri=postgres.uri, query="short_lived")
    read_table_schema(table)

    postgres.sql("DROP TABLE short_lived")

    with pytest.raises(SourceError, match="no table 'short_lived'"):
        read_rows(table)


def test_an_unreachable_server_is_transient() -> None:
    table = Table(uri=f"postgresql://me@127.0.0.1:{find_free_port()}/db", query="sales")

    with pytest.raises(SourceDownError, match="could not be reached") as caught:
        count_rows(table, None)

    assert caught.value.transient


@pytest.mark.parametrize("login", ["postgres@127.0.0.1:{}/nowhere", "nobody@127.0.0.1:{}/postgres"])
def test_an_unknown_database_or_user_is_not_transient(postgres: Postgres, login: str) -> None:
    table = Table(uri="postgresql://" + login.format(postgres.port), query="sales")

    with pytest.raises(SourceError, match="does not exist") as caught:
        count_rows(table, None)

    assert not caught.value.transient


@pytest.mark.parametrize("killed", ["session", "server"])
def test_a_server_killed_in_the_middle_of_a_read_is_transient(postgres: Postgres, killed) -> None:
    table = build_select(postgres, "g, repeat('x', 1000) AS x FROM generate_series(1, 500000) AS g")
    batches = read_batches(table, None, order_by=None)
    next(batches)

    if killed == "session":
        postgres.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    else:
        postgres.stop("immediate")

    with pytest.raises(SourceDownError, match="was lost during the read"):
        list(batches)
    if killed == "server":
        postgres.start()
