"""Where the data is, and what a run does when it has changed."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.units import Share
from tasks.ingestion.tables.reader import Table, table_kind
from tasks.redaction import NO_SECRET, refuse_secret

Policy = Literal["ignore", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnChangeConfig:
    """What to do when the source is not what it was at the last snapshot."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    missing: Policy = "warn"
    """Files that were there and are gone, or that a row refers to and are not there."""
    row_loss: Policy = "fail"
    """Fewer rows than last time, by more than `max_row_loss`; or a database's past was rewritten."""
    max_row_loss: Share = 0.1
    """Share of the rows that may vanish without a word."""
    schema: Policy = "warn"
    """Columns that came, went, or changed their type, since last time or from file to file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Where the data is."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    uri: Annotated[str, Field(json_schema_extra={"pattern": NO_SECRET})]
    """Parquet, CSV, JSON Lines or Arrow files: one, a glob or a folder (hive partitions too), here
    or on s3://, gs://, az://, http(s)://. Or a Delta Lake or Iceberg table's folder. Or a database:
    postgresql://user@host/name, sqlite:///file.db; its password is in PGPASSWORD or ~/.pgpass."""
    query: str | None = None
    """What is read from a database: a table's name, or a SELECT."""
    time: str | None = None
    """Column with the time of each row; orders a series, lets a split be made by time, and lets a
    run see the data as of a time."""
    watermark: str | None = None
    """Column that only grows as rows arrive, such as a serial number or the time of arrival. Of a
    database or table, only rows above the last one seen are read. `time` when left out."""
    entity: str | None = None
    """Column that tells several series of one table apart."""
    file_columns: tuple[str, ...] = ()
    """Columns with paths of files, such as images or recordings, from the folder of the source:
    the snapshot takes the files' bytes in their place."""
    on_change: OnChangeConfig = field(default_factory=OnChangeConfig)
    """What to do when files are missing, rows have vanished, or columns have changed."""

    def __post_init__(self) -> None:
        """Refuse an empty place, a secret in it, and a query where there is no database."""
        if not self.uri.strip():
            raise ValueError("uri: name a file, a glob, a folder, a table or a database")
        refuse_secret(self.uri)
        database = self.uri.startswith(("postgresql://", "postgres://", "sqlite://"))
        if database and not (self.query or "").strip():
            raise ValueError("query: name the database's table, or write a SELECT")
        if self.query and not database:
            raise ValueError("query: only a database is queried; remove it")

    @property
    def order(self) -> str | None:
        """The column that grows as rows arrive."""
        return self.watermark or self.time

    def table(self, version: str | None = None) -> Table:
        """Name the database's or lake's table that is read."""
        return Table(uri=self.uri, query=self.query, version=version)

    @property
    def is_table(self) -> bool:
        """Whether this is a database, a Delta Lake or an Iceberg table, rather than files."""
        return table_kind(self.uri) is not None
