"""Every kind of table returns its rows, the range that is asked for, in order."""

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
from tests.support.tables import (
    NOON,
    SALES,
    read_rows,
    write_sales,
)

pytestmark = [
    # Polars asks for a faster planner of Iceberg's files; these tables have three.
    pytest.mark.filterwarnings("ignore:Iceberg scan planning"),
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(params=["postgresql", "sqlite", "delta", "iceberg"])
def stored(request, tmp_path: Path) -> Table:
    return write_sales(request.param, tmp_path, request)


def build_expected(table: Table) -> pl.DataFrame:
    if detect_table_kind(table.uri) == "sqlite":
        return SALES.with_columns(pl.col("at").dt.epoch("s"))
    return SALES


def test_every_kind_of_table_returns_its_rows(stored: Table) -> None:
    expected = build_expected(stored)

    found = read_rows(stored, order_by="id")

    assert found.equals(expected)
    assert read_table_schema(stored) == expected.schema
    assert count_rows(stored, None) == len(expected)


def test_a_range_holds_the_rows_after_and_until(stored: Table) -> None:
    times = build_expected(stored)["at"]
    after, until = times[1], times[0]
    span = RowRange(column="at", after=after, until=until)

    found = read_rows(stored, span, order_by="at")

    assert found["id"].to_list() == [3, 4, 1]
    assert count_rows(stored, span) == 3
    assert count_rows(stored, RowRange(column="at", after=after)) == 4
    assert count_rows(stored, RowRange(column="at", until=until)) == 4
    assert count_rows(stored, RowRange(column="at")) == 6
    assert read_rows(stored, RowRange(column="at", after=times[4])).is_empty()


def test_adjacent_ranges_share_no_row_and_leave_none_out(stored: Table) -> None:
    times = build_expected(stored)["at"].drop_nulls().unique().sort()

    counts = [
        count_rows(stored, RowRange(column="at", after=after, until=until))
        for after, until in zip([None, *times], [*times, None], strict=True)
    ]

    assert counts == [1, 2, 1, 1, 0]


def test_order_puts_nulls_first_and_breaks_ties(stored: Table) -> None:
    found = read_rows(stored, order_by="at")["id"].to_list()

    assert found == [6, 2, 3, 4, 1, 5]


def test_newest_is_the_largest_value(stored: Table) -> None:
    expected = build_expected(stored)

    assert find_newest(stored, "at") == expected["at"].max()
    assert find_newest(stored, "id") == 6
    assert find_newest(stored, "kwh") == 1e300


def test_an_unknown_column_gets_a_suggestion(stored: Table) -> None:
    with pytest.raises(SourceError, match=r"has no column 'shopp'.*\n.*\n.*'shop'"):
        find_newest(stored, "shopp")
    with pytest.raises(SourceError, match=r"has no column 'AT'.*\n.*\n.*'at'"):
        count_rows(stored, RowRange(column="AT", after=NOON))
    with pytest.raises(SourceError, match="has no column 'nope'"):
        read_rows(stored, order_by="nope")


def test_a_bound_of_another_type_is_refused(stored: Table) -> None:
    with pytest.raises(SourceError, match="'id' is Int64, which cannot be compared with '3'"):
        count_rows(stored, RowRange(column="id", after="3"))
    with pytest.raises(SourceError, match="'shop' is String, which cannot be compared with 3"):
        read_rows(stored, RowRange(column="shop", until=3))


def test_a_read_can_be_closed_early(stored: Table) -> None:
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
