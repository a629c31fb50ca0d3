"""SQLite columns get one type from their declaration or values, or are refused."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import SourceDownError, SourceError
from tasks.ingestion.tables import sqlite
from tasks.ingestion.tables.reader import (
    Table,
    count_rows,
    read_batches,
    read_table_schema,
)
from tests.support.tables import create_sqlite, read_rows


def test_sqlite_uses_declared_types(tmp_path: Path) -> None:
    uri = create_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (i INTEGER, r REAL, s VARCHAR(9), b BLOB, d DATE, f BOOLEAN, n NUMERIC, u)",
        "INSERT INTO t VALUES (NULL, 1, 5, x'00', '2024-01-01', 1, 1, NULL)",
        "INSERT INTO t VALUES (NULL, 2, 'x', x'', '2024-01-02', 0, 1.5, NULL)",
    )
    table = Table(uri=uri, query="t")

    rows = read_rows(table)

    assert rows.rows() == [
        (None, 1.0, "5", b"\x00", "2024-01-01", 1, 1.0, None),
        (None, 2.0, "x", b"", "2024-01-02", 0, 1.5, None),
    ]
    assert rows.dtypes == [
        pl.Int64, pl.Float64, pl.String, pl.Binary, pl.String, pl.Int64, pl.Float64, pl.String
    ]  # fmt: skip
    assert rows.schema == read_table_schema(table)


def test_sqlite_types_do_not_depend_on_the_first_rows(tmp_path: Path) -> None:
    uri = create_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER, late, mixed)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9000)"
        " INSERT INTO t SELECT n, iif(n > 8500, 'text', NULL), iif(n > 8500, n + 0.5, n) FROM s",
    )

    rows = read_rows(Table(uri=uri, query="SELECT * FROM t"), order_by="id")

    assert rows.dtypes == [pl.Int64, pl.String, pl.Float64]
    assert rows.row(0) == (1, None, 1.0)
    assert rows.row(8999) == (9000, "text", 9000.5)


@pytest.mark.parametrize("row", [10, 9000])
@pytest.mark.parametrize("query", ["t", "SELECT id, x FROM t"])
def test_a_text_among_numbers_is_refused_with_its_column(
    tmp_path: Path, row: int, query: str
) -> None:
    uri = create_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER, x INTEGER)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9500)"
        " INSERT INTO t SELECT n, n FROM s",
        f"UPDATE t SET x = 'n/a' WHERE id = {row}",
    )

    with pytest.raises(SourceError, match=r"column 'x' mixes types.*'n/a', which is text"):
        read_rows(Table(uri=uri, query=query))


def test_sqlite_is_read_only(tmp_path: Path) -> None:
    uri = create_sqlite(tmp_path / "a.db", "CREATE TABLE t (id INTEGER)")

    with pytest.raises(SourceError, match="neither a table's name nor a SELECT"):
        read_rows(Table(uri=uri, query="INSERT INTO t VALUES (1)"))
    with pytest.raises(SourceError, match="holds a parameter"):
        read_rows(Table(uri=uri, query="SELECT * FROM t WHERE id > ?"))
    assert count_rows(Table(uri=uri, query="t"), None) == 0
    assert read_rows(Table(uri=uri, query="t"), order_by="id").is_empty()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tt", "no table 'tt'(.|\n)*did you mean 't'"),
        ("SELECT nope FROM t", "no such column: nope"),
        ("SELECT a AS x, a AS x FROM t", "two columns are named 'x'"),
        ("SELECT FROM t", "syntax error"),
    ],
)
def test_errors_of_sqlite_are_explained(tmp_path: Path, query: str, message: str) -> None:
    uri = create_sqlite(tmp_path / "a.db", "CREATE TABLE t (a INTEGER)")

    with pytest.raises(SourceError, match=message):
        read_rows(Table(uri=uri, query=query))


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database " * 200)

    with pytest.raises(SourceError, match="file is not a database"):
        read_rows(Table(uri=f"sqlite:///{tmp_path}/a.db", query="t"))
    with pytest.raises(SourceError, match="names no file"):
        read_rows(Table(uri=f"sqlite:///{tmp_path}/b.db", query="t"))


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
def test_sqlite_returns_every_column_or_refuses_it(tmp_path: Path, values: list) -> None:
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
        rows = read_rows(Table(uri=f"sqlite:///{path}", query="t"), order_by="id")
        assert (rows["x"].to_list() if values else []) == expected
    else:
        with pytest.raises(SourceError, match="column 'x' mixes types"):
            read_rows(Table(uri=f"sqlite:///{path}", query="t"))


WRITER = """
import sqlite3, sys
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute(sys.argv[2])
print("done", flush=True)
sys.stdin.readline()
"""


@contextmanager
def write_from_another_process(path: Path, statement: str) -> Iterator[None]:
    """Write from a process of its own: SQLite's locks do not hold within one."""
    command = [sys.executable, "-c", WRITER, str(path), statement]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "done\n"
        yield
        writer.communicate("\n")


def test_sqlite_waits_for_a_writer_and_then_fails(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    uri = create_sqlite(tmp_path / "a.db", "CREATE TABLE t (id INTEGER)")

    with (
        write_from_another_process(tmp_path / "a.db", "BEGIN EXCLUSIVE"),
        pytest.raises(SourceDownError, match="another program has been writing"),
    ):
        count_rows(Table(uri=uri, query="t"), None)

    assert count_rows(Table(uri=uri, query="t"), None) == 0


def test_sqlite_is_read_as_it_was_when_the_read_began(tmp_path: Path) -> None:
    uri = create_sqlite(
        tmp_path / "a.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE t (id INTEGER)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)"
        " INSERT INTO t SELECT n FROM s",
    )
    batches = read_batches(Table(uri=uri, query="t"), None, order_by="id")

    first = next(batches)
    with write_from_another_process(tmp_path / "a.db", "DELETE FROM t WHERE id > 100"):
        rest = list(batches)

    assert first.num_rows + sum(batch.num_rows for batch in rest) == 20000
    assert count_rows(Table(uri=uri, query="t"), None) == 100


def test_sqlite_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    uri = create_sqlite(
        tmp_path / "a.db", "CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES (CAST(x'ff' AS TEXT))"
    )

    with pytest.raises(SourceError, match="column 'x' cannot be read as string"):
        read_rows(Table(uri=uri, query="t"))


def test_batches_of_large_cells_have_few_rows(tmp_path: Path) -> None:
    uri = create_sqlite(
        tmp_path / "a.db",
        "CREATE TABLE t (x BLOB)",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100)"
        " INSERT INTO t SELECT zeroblob(400000) FROM s",
    )

    batches = list(read_batches(Table(uri=uri, query="t"), None, order_by=None))

    assert sum(batch.num_rows for batch in batches) == 100
    assert max(batch.nbytes for batch in batches) < 10 * 2**20
