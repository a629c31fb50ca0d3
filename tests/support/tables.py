"""One small table of sales as a database, a Delta Lake or an Iceberg table."""

import datetime as dt
import sqlite3
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tasks.ingestion.tables.lakehouse import _FILE_IO
from tasks.ingestion.tables.reader import RowRange, Table, read_batches

NOON = dt.datetime.fromisoformat("2024-01-01T12:00:00")

SALES = pl.DataFrame(
    {
        "id": [1, 2, 3, 4, 5, 6],
        "at": [NOON + dt.timedelta(days=day) for day in (2, 0, 1, 1, 3)] + [None],
        "shop": ["a", "\u00fc\U0001f600", None, "a", "", "it's"],
        "kwh": [1.5, None, -0.0, 2.5, 1e300, 3.0],
    }
)

LATER = SALES.with_columns(id=pl.col("id") + 10, note=pl.lit("new"))


def read_rows(
    table: Table, span: RowRange | None = None, order_by: str | None = None
) -> pl.DataFrame:
    batches = list(read_batches(table, span, order_by=order_by))
    return pl.DataFrame(pa.Table.from_batches(batches)) if batches else pl.DataFrame()


def create_sqlite(path: Path, *statements: str) -> str:
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
            "INSERT INTO sales VALUES " + format_values(lambda at: f"'{at}'"),
        )
        return Table(uri=server.uri, query="sales")
    if kind == "sqlite":
        uri = create_sqlite(
            folder / "sales.db",
            "CREATE TABLE sales (id INTEGER, at INTEGER, shop TEXT, kwh REAL)",
            "INSERT INTO sales VALUES " + format_values(lambda at: str(int(at.timestamp()))),
        )
        return Table(uri=uri, query="sales")
    if kind == "delta":
        SALES.write_delta(str(folder / "sales"))
        return Table(uri=str(folder / "sales"))
    return Table(uri=create_iceberg(folder, SALES))


def format_values(write) -> str:
    def literal(value) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, dt.datetime):
            return write(value)
        return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)

    return ", ".join(f"({', '.join(map(literal, row))})" for row in SALES.iter_rows())


def create_iceberg(folder: Path, *frames: pl.DataFrame, warehouse: str | None = None) -> str:
    catalog = SqlCatalog(
        "c",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=warehouse or folder.as_uri(),
        **_FILE_IO,
    )
    catalog.create_namespace("n")
    table = catalog.create_table("n.sales", schema=frames[0].to_arrow().schema)
    for frame in frames:
        with table.update_schema() as update:
            update.union_by_name(frame.to_arrow().schema)
        table.append(frame.to_arrow())
    catalog.close()
    return str(folder / "n" / "sales")
