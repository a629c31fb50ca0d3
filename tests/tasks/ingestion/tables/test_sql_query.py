"""A query is a table's name or one SELECT; anything else is refused."""

import pytest

from tasks.errors import SourceError
from tasks.ingestion.tables.reader import Table, read_table_schema
from tests.support.postgres import Postgres
from tests.support.tables import read_rows


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1; SELECT 2", "several statements"),
        ("DELETE FROM sales", "neither a table's name nor a SELECT"),
        ("SELECT 1) AS t; DROP TABLE x; --", "several statements"),
        ("SELECT 1) AS t, (SELECT 2", "not closed"),
        ("SELECT 'a", "not closed"),
        ("my table", "neither"),
        ("  ", "source.query is empty"),
        (None, "source.query is empty"),
    ],
)
def test_a_query_that_is_not_one_select_is_refused(query: str | None, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_table_schema(Table(uri="postgresql://127.0.0.1:1/db", query=query))


def test_semicolons_in_texts_and_comments_do_not_end_a_statement(postgres: Postgres) -> None:
    query = "WITH a AS (SELECT ';' AS x) -- one; two\nSELECT x, $q$;)$q$ AS y /* ; ( */ FROM a ; "

    assert read_rows(Table(uri=postgres.uri, query=query)).rows() == [(";", ";)")]
