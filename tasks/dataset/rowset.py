"""The rows that the stages read: the parts of a snapshot, without quarantined rows.

A snapshot is a list of immutable Parquet files, its parts, which other snapshots share. A `RowSet`
reads them as one table: columns that a part lacks are null, types are widened to the common one,
and rows later than the snapshot's time and quarantined rows are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.errors import MissingArtifactError
from tasks.facts import SnapshotFacts
from tasks.records import Accepted, Snapshot
from tasks.storage.artifacts import find_artifact_dir, find_by_key, load_manifest, local_dir
from tasks.storage.store import Store

FRAME_BYTES = 16 * 2**20
"""Most decoded bytes of a frame, estimated from the first rows."""

_MAX_FRAME_ROWS = 65_536

_HEAD_ROWS = 256

ORIGIN_PART, ORIGIN_ROW = "__part__", "__part_row__"
"""Columns with the index of a row's part, and the row's number in it."""


RESERVED_COLUMNS = {
    "__row__", "__judged__", "__broken__", "__source__", "__source_row__", "__reasons__",
    ORIGIN_PART, ORIGIN_ROW,
}  # fmt: skip
"""Names that a source's columns must not have."""


@dataclass(frozen=True, slots=True)
class AsOfCut:
    """Leaves out the rows that are later than a time."""

    column: str
    """Of dates or times."""
    until: datetime
    """The last time that is included; aware."""

    def build_filter(self, dtype: pl.DataType) -> pl.Expr:
        """Return the condition for rows up to the time; it keeps those with a null."""
        time = pl.col(self.column)
        return time.is_null() | (time <= pl.lit(to_column_time(self.until, dtype)).cast(dtype))


@dataclass(frozen=True, slots=True)
class RowSet:
    """Parts that are read as one table."""

    paths: tuple[Path, ...]
    """Parquet files, in the order of their rows."""
    schema: pl.Schema
    """Of the table: all columns, in their common types."""
    cut: AsOfCut | None = None
    excluded_rows: NDArray[np.uint32] | None = None
    """Numbers of rows that are left out, counted after the cut."""

    def scan(self, *, origin: bool = False) -> pl.LazyFrame:
        """Scan the rows lazily; `origin` adds the columns ORIGIN_PART and ORIGIN_ROW."""
        if self.is_unfiltered and not origin:
            return pl.scan_parquet(list(self.paths), glob=False)
        parts = [
            self._conform(
                pl.scan_parquet(path, row_index_name=ORIGIN_ROW if origin else None, glob=False),
                *(_build_origin_columns(index) if origin else ()),
            )
            for index, path in enumerate(self.paths)
        ]
        rows = pl.concat(parts, how="vertical")
        if self.excluded_rows is None or not len(self.excluded_rows):
            return rows
        excluded = pl.Series(self.excluded_rows, dtype=pl.UInt32).implode()
        numbered = rows.with_row_index("__row__")
        return numbered.filter(~pl.col("__row__").is_in(excluded)).drop("__row__")

    @property
    def is_unfiltered(self) -> bool:
        """Whether the parts together are the table, with nothing to cast, fill or leave out."""
        unfiltered = self.cut is None and (
            self.excluded_rows is None or not len(self.excluded_rows)
        )
        return unfiltered and all(
            pl.read_parquet_schema(path) == self.schema for path in self.paths
        )

    def _conform(self, part: pl.LazyFrame, *more: pl.Expr) -> pl.LazyFrame:
        """Fill and cast a part's columns to the table's schema, and cut its rows."""
        own = part.collect_schema()
        absent = [pl.lit(None, dtype).alias(n) for n, dtype in self.schema.items() if n not in own]
        columns = [pl.col(name).cast(dtype) for name, dtype in self.schema.items()]
        rows = part.with_columns(absent).select(*columns, *more)
        return (
            rows.filter(self.cut.build_filter(self.schema[self.cut.column])) if self.cut else rows
        )

    def iter_frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Read columns in the order of the rows, in frames of about FRAME_BYTES.

        The frames' boundaries depend on the rows only, not on the parts that hold them.
        """
        size = choose_frame_rows(self.scan().select(columns))
        pending: list[pl.DataFrame] = []
        for piece in self._iter_pieces(columns, size):
            pending.append(piece)
            while sum(map(len, pending)) >= size:
                joined = pl.concat(pending)
                yield joined[:size]
                pending = [joined[size:]]
        if rest := [piece for piece in pending if len(piece)]:
            yield pl.concat(rest)

    def _iter_pieces(self, columns: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Read part by part, at most `size` rows at a time."""
        selected = list(columns)
        needed = dict.fromkeys([*selected, *([self.cut.column] if self.cut else [])])
        narrow = RowSet((), pl.Schema({n: self.schema[n] for n in needed}), self.cut)
        start = 0
        for path in self.paths:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                here = [name for name in file.schema_arrow.names if name in needed]
                for batch in file.iter_batches(batch_size=size, columns=here):
                    frame = pl.from_arrow(batch) if here else pl.DataFrame(height=len(batch))
                    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch is a table
                    rows = narrow._conform(frame.lazy()).collect()
                    included = self._mask_included(start, len(rows))
                    start += len(rows)
                    yield rows.filter(included).select(selected)

    def _mask_included(self, start: int, count: int) -> pl.Series:
        """Mark which of `count` rows from number `start` on are not excluded."""
        mask = np.ones(count, bool)
        if self.excluded_rows is not None:
            here = self.excluded_rows[
                (self.excluded_rows >= start) & (self.excluded_rows < start + count)
            ]
            mask[here - start] = False
        return pl.Series(mask)


def to_column_time(until: datetime, dtype: pl.DataType) -> date | datetime:
    """Convert a time to the column's type: a date, a naive time in UTC, or an aware time."""
    until = until.astimezone(UTC)
    if isinstance(dtype, pl.Date):
        return until.date()
    aware = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return until if aware else until.replace(tzinfo=None)


def to_utc(value: date | datetime) -> datetime:
    """Convert to an aware time in UTC; a date is its midnight, and a naive time is in UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def choose_frame_rows(rows: pl.LazyFrame) -> int:
    """Choose the rows of a frame of about FRAME_BYTES by the size of the first rows."""
    head = rows.head(_HEAD_ROWS).collect()
    size = max(1, head.estimated_size()) / max(1, len(head))
    return max(16, min(_MAX_FRAME_ROWS, int(FRAME_BYTES / size)))


def merge_schemas(schemas: Sequence[Mapping[str, pl.DataType]]) -> pl.Schema:
    """Return all columns, each in the narrowest type that holds the values of all schemas.

    Raises:
        polars.exceptions.PolarsError: the types of a column have no common type.
    """
    empty = [pl.LazyFrame(schema=schema) for schema in schemas]
    return pl.concat(empty, how="diagonal_relaxed").collect_schema()


def open_snapshot(store: Store, snapshot: Snapshot) -> RowSet:
    """Open all rows of a snapshot up to its time.

    Raises:
        MissingArtifactError: the store no longer has one of its parts.
        DamagedArtifactError: a part is not what was written.
    """
    folders = [find_artifact_dir(store, "part", key) for key in snapshot.facts.parts]
    if missing := folders.count(None):
        raise MissingArtifactError.of(
            f"{missing} of {len(folders)} parts of snapshot {snapshot.key} are no longer in the "
            f"store {store.root}",
            hint="run the job again, which reads them from the source, or restore them from a copy",
        )
    paths = tuple(folder / "rows.parquet" for folder in folders if folder)
    cut = snapshot.facts.cut
    return RowSet(
        paths,
        merge_schemas([pl.read_parquet_schema(path) for path in paths]),
        AsOfCut(cut.column, datetime.fromisoformat(cut.until)) if cut else None,
    )


def find_snapshot(store: Store, accepted: Accepted) -> Snapshot:
    """Find the snapshot that was validated.

    Raises:
        MissingArtifactError: the store no longer has it.
    """
    key = load_manifest(store, accepted).recipe.inputs["snapshot"]
    snapshot = find_by_key(store, "ingest", key, SnapshotFacts)
    if snapshot is None:
        raise MissingArtifactError.of(
            f"ingest/{key} is no longer in the store {store.root}",
            hint="run the job again, which makes it again, or restore it from a copy",
        )
    return snapshot


def open_rows(store: Store, accepted: Accepted) -> RowSet:
    """Open the rows of a snapshot that were not quarantined."""
    rows = open_snapshot(store, find_snapshot(store, accepted))
    if not accepted.facts.quarantined:
        return rows
    quarantined = pl.read_parquet(
        local_dir(store, accepted) / "quarantine.parquet", columns=["__row__"], glob=False
    )
    return RowSet(rows.paths, rows.schema, rows.cut, quarantined["__row__"].to_numpy())


def _build_origin_columns(part: int) -> tuple[pl.Expr, pl.Expr]:
    """Return expressions for the part's index and the row's number in it."""
    return pl.lit(part, pl.UInt32).alias(ORIGIN_PART), pl.col(ORIGIN_ROW)
