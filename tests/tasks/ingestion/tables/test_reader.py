"""Every kind of table returns its rows, or a range of them, in order."""

from pathlib import Path

import polars as pl
import pytest

from tasks.errors import SourceError
from tasks.ingestion.tables.reader import (
    RowRange,
    Table,
    count_rows,
    detect_table_kind,
    find_newest,
    read_batches,
    read_table_schema,
)
from tests.support.tables import NOON, SALES, read_rows, write_sales

pytestmark = [
    # Polars asks for a faster planner of Iceberg's files; these tables have three.
    pytest.mark.filterwarnings("ignore:Iceberg scan planning"),
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(params=["postgresql", "sqlite", "delta", "iceberg"])
def sales_table(request, tmp_path: Path) -> Table:
    return write_sales(request.param, tmp_path, request)


def build_expected(table: Table) -> pl.DataFrame:
    if detect_table_kind(table.uri) == "sqlite":
        return SALES.with_columns(pl.col("at").dt.epoch("s"))
    return SALES


def test_every_kind_of_table_returns_its_rows(sales_table: Table) -> None:
    expected = build_expected(sales_table)

    rows = read_rows(sales_table, order_by="id")

    assert rows.equals(expected)
    assert read_table_schema(sales_table) == expected.schema
    assert count_rows(sales_table, None) == len(expected)


def test_a_range_excludes_its_start_and_includes_its_end(sales_table: Table) -> None:
    times = build_expected(sales_table)["at"]
    after, until = times[1], times[0]
    span = RowRange(column="at", after=after, until=until)

    rows = read_rows(sales_table, span, order_by="at")

    assert rows["id"].to_list() == [3, 4, 1]
    assert count_rows(sales_table, span) == 3
    assert count_rows(sales_table, RowRange(column="at", after=after)) == 4
    assert count_rows(sales_table, RowRange(column="at", until=until)) == 4
    assert count_rows(sales_table, RowRange(column="at")) == 6
    assert read_rows(sales_table, RowRange(column="at", after=times[4])).is_empty()


def test_adjacent_ranges_contain_every_row_once(sales_table: Table) -> None:
    times = build_expected(sales_table)["at"].drop_nulls().unique().sort()

    counts = [
        count_rows(sales_table, RowRange(column="at", after=after, until=until))
        for after, until in zip([None, *times], [*times, None], strict=True)
    ]

    assert counts == [1, 2, 1, 1, 0]


def test_order_puts_nulls_first_and_breaks_ties(sales_table: Table) -> None:
    rows = read_rows(sales_table, order_by="at")["id"].to_list()

    assert rows == [6, 2, 3, 4, 1, 5]


def test_the_newest_value_is_the_largest(sales_table: Table) -> None:
    expected = build_expected(sales_table)

    assert find_newest(sales_table, "at") == expected["at"].max()
    assert find_newest(sales_table, "id") == 6
    assert find_newest(sales_table, "kwh") == 1e300


def test_an_unknown_column_gets_a_suggestion(sales_table: Table) -> None:
    with pytest.raises(SourceError, match=r"has no column 'shopp'.*\n.*\n.*'shop'"):
        find_newest(sales_table, "shopp")
    with pytest.raises(SourceError, match=r"has no column 'AT'.*\n.*\n.*'at'"):
        count_rows(sales_table, RowRange(column="AT", after=NOON))
    with pytest.raises(SourceError, match="has no column 'nope'"):
        read_rows(sales_table, order_by="nope")


def test_a_bound_of_a_wrong_type_is_refused(sales_table: Table) -> None:
    with pytest.raises(SourceError, match="'id' is Int64, which cannot be compared with '3'"):
        count_rows(sales_table, RowRange(column="id", after="3"))
    with pytest.raises(SourceError, match="'shop' is String, which cannot be compared with 3"):
        read_rows(sales_table, RowRange(column="shop", until=3))


def test_a_read_can_be_closed_early(sales_table: Table) -> None:
    batches = read_batches(sales_table, None, order_by="id")

    next(iter(batches))
    batches.close()

    assert count_rows(sales_table, None) == 6


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
def test_the_kind_follows_from_the_uri(uri: str, kind: str | None) -> None:
    assert detect_table_kind(uri) == kind


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
        detect_table_kind(uri)

    assert "s3cret" not in str(caught.value)
