"""Where the data is, and what a run does when it has changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.features.text_columns import DECIMAL_COMMA, NUMBER
from models.units import Share
from tasks.ingestion.tables.reader import Table, detect_table_kind
from tasks.redaction import NO_SECRET_PATTERN, check_no_secret
from tasks.storage.store import FILE_SCHEMES, check_scheme

_FURTHER_SCHEMES = {"http", "https", "postgresql", "postgres", "sqlite"}
"""What is read, but holds no store."""

ChangePolicy = Literal["ignore", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnChangeConfig:
    """What to do when the source differs from its last snapshot."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    missing: ChangePolicy = "warn"
    """When files of the last snapshot are missing, or files that a row refers to do not exist."""
    row_loss: ChangePolicy = "fail"
    """When more than `max_row_loss` of the rows are missing since the last snapshot."""
    max_row_loss: Share = 0.1
    """Share of the rows that may be missing before `row_loss` applies."""
    schema: ChangePolicy = "warn"
    """When columns were added, were removed or have another type, since the last snapshot or
    between files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Where the data is."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    uri: Annotated[str, Field(json_schema_extra={"pattern": NO_SECRET_PATTERN})]
    """Parquet, CSV, JSON Lines or Arrow files: one, a glob or a folder (hive partitions too), here
    or on s3://, gs://, az://, http(s)://. Or a Delta Lake or Iceberg table's folder. Or a database:
    postgresql://user@host/name, sqlite:///file.db; its password is in PGPASSWORD or ~/.pgpass."""
    query: str | None = None
    """What is read from a database: the name of a table, or a SELECT statement."""
    time: str | None = None
    """Column with the time of each row: it orders a series, and is needed for a split by time and
    for a run that sees the data as of a time."""
    watermark: str | None = None
    """Column that only increases as rows arrive, such as a serial number or an arrival time; by
    default `time`. Of a table, only rows above the last value that was read are read."""
    entity: str | None = None
    """Column that identifies the series of a row, where a table has several."""
    parse: Mapping[str, str] = field(default_factory=dict)
    """Columns of text that are dates, times or numbers, with the format of each: `number`,
    `decimal_comma` (1.234,5), or the parts of a date as in strftime, such as `"%d/%m/%Y"`,
    `"%Y-%m"` or `"%Y-Q%q"` (a quarter). They are parsed when the snapshot is taken. CSV files' ISO
    dates and numbers need no entry."""
    file_columns: tuple[str, ...] = ()
    """Columns with paths of files, such as images or recordings, relative to the folder of the
    source: the snapshot has the files' bytes instead."""
    on_change: OnChangeConfig = field(default_factory=OnChangeConfig)
    """What to do when files or rows are missing, or columns have changed."""

    def __post_init__(self) -> None:
        """Check that the URI has no secret, and that there is a query for a database only."""
        if not self.uri.strip():
            raise ValueError("uri: name a file, a glob, a folder, a table or a database")
        check_no_secret(self.uri)
        check_scheme(self.uri, FILE_SCHEMES | _FURTHER_SCHEMES)
        database = self.uri.startswith(("postgresql://", "postgres://", "sqlite://"))
        if database and not (self.query or "").strip():
            raise ValueError("query: name the database's table, or write a SELECT")
        if self.query and not database:
            raise ValueError("query: only a database is queried; remove it")
        for name, text_format in self.parse.items():
            if text_format not in {NUMBER, DECIMAL_COMMA} and "%" not in text_format:
                raise ValueError(
                    f"parse.{name}: '{text_format}' is no format; write number, decimal_comma, or "
                    'a date as in strftime, such as "%d/%m/%Y"'
                )

    @property
    def watermark_column(self) -> str | None:
        """`watermark`, or `time` where it is left out."""
        return self.watermark or self.time

    @property
    def table_watermark(self) -> str | None:
        """The watermark of a table; a time that is parsed from text may not sort as text."""
        return self.watermark or (None if self.time in self.parse else self.time)

    def describe_table(self, version: str | None = None) -> Table:
        """Describe the database's or lakehouse's table that is read, at a version or the newest."""
        return Table(uri=self.uri, query=self.query, version=version)

    @property
    def is_table(self) -> bool:
        """Whether the source is a database, a Delta Lake or an Iceberg table, rather than files."""
        return detect_table_kind(self.uri) is not None
