"""Where the data is, and what a run does when it has changed."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.units import Share
from tasks.ingestion.tables.reader import Table, detect_table_kind
from tasks.redaction import NO_SECRET_PATTERN, check_no_secret

ChangePolicy = Literal["ignore", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnChangeConfig:
    """What to do when the source differs from its last snapshot."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    missing: ChangePolicy = "warn"
    """Files of the last snapshot that are gone, or files that a row refers to and that do not
    exist."""
    row_loss: ChangePolicy = "fail"
    """More than `max_row_loss` of the rows are gone since the last snapshot."""
    max_row_loss: Share = 0.1
    """Share of the rows that may be gone before `row_loss` applies."""
    schema: ChangePolicy = "warn"
    """Columns that were added, removed or retyped, since the last snapshot or between files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Where the data is."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    uri: Annotated[str, Field(json_schema_extra={"pattern": NO_SECRET_PATTERN})]
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
    """Column that identifies the series of a row, where a table has several."""
    file_columns: tuple[str, ...] = ()
    """Columns with paths of files, such as images or recordings, from the folder of the source:
    the snapshot takes the files' bytes in their place."""
    on_change: OnChangeConfig = field(default_factory=OnChangeConfig)
    """What to do when files are missing, rows have vanished, or columns have changed."""

    def __post_init__(self) -> None:
        """Check that the URI has no secret, and that there is a query for a database only."""
        if not self.uri.strip():
            raise ValueError("uri: name a file, a glob, a folder, a table or a database")
        check_no_secret(self.uri)
        database = self.uri.startswith(("postgresql://", "postgres://", "sqlite://"))
        if database and not (self.query or "").strip():
            raise ValueError("query: name the database's table, or write a SELECT")
        if self.query and not database:
            raise ValueError("query: only a database is queried; remove it")

    @property
    def watermark_column(self) -> str | None:
        """`watermark`, or `time` where it is left out."""
        return self.watermark or self.time

    def table(self, version: str | None = None) -> Table:
        """Describe the database's or lakehouse's table that is read, at a version or the newest."""
        return Table(uri=self.uri, query=self.query, version=version)

    @property
    def is_table(self) -> bool:
        """Whether the source is a database, a Delta Lake or an Iceberg table, rather than files."""
        return detect_table_kind(self.uri) is not None
