"""The rows that the stages read: the parts of a snapshot, without what was set aside.

A snapshot is a list of parts that it shares with other snapshots, each an immutable Parquet file.
Here they are one table again: columns that a part lacks are null, a narrower type becomes the
wider, rows later than the snapshot's time are left out, and so are the rows in quarantine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.records import Accepted, Snapshot
from tasks.storage.artifacts import find_key, local_dir, read_manifest
from tasks.storage.store import Store

FRAME_BYTES = 16 * 2**20
"""Decoded bytes that one frame may take, by the size of the first rows."""

MAX_FRAME_ROWS = 65_536

HEAD_ROWS = 256

ORIGIN_PART, ORIGIN_ROW = "__part__", "__part_row__"
"""Columns that say from which part a row is, and its number there."""


RESERVED = {
    "__row__", "__judged__", "__broken__", "__source__", "__source_row__", "__reasons__",
    ORIGIN_PART, ORIGIN_ROW,
}  # fmt: skip
"""Names that a source's columns must not have."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The time up to which rows count."""

    column: str
    until: datetime

    def keeps(self, dtype: pl.DataType) -> pl.Expr:
        """Tell the rows up to then; a row without a time is the contract's matter."""
        time = pl.col(self.column)
        return time.is_null() | (time <= pl.lit(bound(self.until, dtype)).cast(dtype))


def bound(until: datetime, dtype: pl.DataType) -> date | datetime:
    """Write a time in the words of the column: a day, a naive time in UTC, or an aware one."""
    until = until.astimezone(UTC)
    if isinstance(dtype, pl.Date):
        return until.date()
    aware = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return until if aware else until.replace(tzinfo=None)


def instant(value: date | datetime) -> datetime:
    """Take a day for its first moment, and a time without a zone for UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RowSet:
    """Some parts read as one table."""

    paths: tuple[Path, ...]
    schema: pl.Schema
    cut: Cut | None = None
    without: NDArray[np.uint32] | None = None
    """Numbers of the rows that are set aside."""

    def scan(self, *, origin: bool = False) -> pl.LazyFrame:
        """Scan the rows; with their origin where it is asked for."""
        if self.plain and not origin:
            return pl.scan_parquet(list(self.paths), glob=False)
        parts = [
            self.fitted(
                pl.scan_parquet(path, row_index_name=ORIGIN_ROW if origin else None, glob=False),
                *(origin_columns(place) if origin else ()),
            )
            for place, path in enumerate(self.paths)
        ]
        rows = pl.concat(parts, how="vertical")
        if self.without is None or not len(self.without):
            return rows
        aside = pl.Series(self.without, dtype=pl.UInt32).implode()
        numbered = rows.with_row_index("__row__")
        return numbered.filter(~pl.col("__row__").is_in(aside)).drop("__row__")

    @property
    def plain(self) -> bool:
        """Whether the parts are the table as they are."""
        whole = self.cut is None and (self.without is None or not len(self.without))
        return whole and all(pl.read_parquet_schema(path) == self.schema for path in self.paths)

    def fitted(self, part: pl.LazyFrame, *more: pl.Expr) -> pl.LazyFrame:
        """Bring a part to the table's columns, types and time."""
        own = part.collect_schema()
        absent = [pl.lit(None, dtype).alias(n) for n, dtype in self.schema.items() if n not in own]
        columns = [pl.col(name).cast(dtype) for name, dtype in self.schema.items()]
        rows = part.with_columns(absent).select(*columns, *more)
        return rows.filter(self.cut.keeps(self.schema[self.cut.column])) if self.cut else rows

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Read the named columns in order, in frames that fit in memory.

        The cut depends on the rows alone, not on the parts that they came in.
        """
        size = frame_rows(self.scan().select(columns))
        held: list[pl.DataFrame] = []
        for piece in self.pieces(columns, size):
            held.append(piece)
            while sum(map(len, held)) >= size:
                whole = pl.concat(held)
                yield whole[:size]
                held = [whole[size:]]
        if rest := [piece for piece in held if len(piece)]:
            yield pl.concat(rest)

    def pieces(self, columns: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Read part by part, at most so many rows at a time."""
        wanted = list(columns)
        needed = dict.fromkeys([*wanted, *([self.cut.column] if self.cut else [])])
        narrow = RowSet((), pl.Schema({n: self.schema[n] for n in needed}), self.cut)
        start = 0
        for path in self.paths:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                here = [name for name in file.schema_arrow.names if name in needed]
                for batch in file.iter_batches(batch_size=size, columns=here):
                    frame = pl.from_arrow(batch) if here else pl.DataFrame(height=len(batch))
                    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch is a table
                    fitted = narrow.fitted(frame.lazy()).collect()
                    kept = self.kept(start, len(fitted))
                    start += len(fitted)
                    yield fitted.filter(kept).select(wanted)

    def kept(self, start: int, count: int) -> pl.Series:
        """Mark the rows from `start` on that are not set aside."""
        mask = np.ones(count, bool)
        if self.without is not None:
            here = self.without[(self.without >= start) & (self.without < start + count)]
            mask[here - start] = False
        return pl.Series(mask)


def origin_columns(place: int) -> tuple[pl.Expr, pl.Expr]:
    """Name the part and the row in it."""
    return pl.lit(place, pl.UInt32).alias(ORIGIN_PART), pl.col(ORIGIN_ROW)


def frame_rows(rows: pl.LazyFrame) -> int:
    """Choose the rows of a frame so that one fits in memory, large cells or small."""
    head = rows.head(HEAD_ROWS).collect()
    size = max(1, head.estimated_size()) / max(1, len(head))
    return max(16, min(MAX_FRAME_ROWS, int(FRAME_BYTES / size)))


def common_schema(schemas: Sequence[Mapping[str, pl.DataType]]) -> pl.Schema:
    """Give the columns of all, each in the narrowest type that holds every part's values.

    Raises:
        SchemaError: two types of one column have nothing in common.
    """
    empty = [pl.LazyFrame(schema=schema) for schema in schemas]
    return pl.concat(empty, how="diagonal_relaxed").collect_schema()


def open_snapshot(store: Store, snapshot: Snapshot) -> RowSet:
    """Open all rows of a snapshot."""
    parts = [find_key(store, "part", key) for key in snapshot.facts["parts"]]
    folders = [local_dir(store, part) for part in parts if part is not None]
    paths = tuple(folder / "rows.parquet" for folder in folders)
    cut = snapshot.facts["cut"]
    return RowSet(
        paths,
        common_schema([pl.read_parquet_schema(path) for path in paths]),
        Cut(cut["column"], datetime.fromisoformat(cut["until"])) if cut else None,
    )


def snapshot_of(store: Store, accepted: Accepted) -> Snapshot:
    """Find the snapshot that was judged."""
    manifest: dict[str, Any] = read_manifest(store, "validate", accepted.key) or {}
    snapshot = find_key(store, "ingest", manifest["recipe"]["inputs"]["snapshot"])
    assert snapshot is not None  # noqa: S101 - what an artifact was made from is kept with it
    return Snapshot(snapshot)


def open_rows(store: Store, accepted: Accepted) -> RowSet:
    """Open the rows that keep their contract."""
    rows = open_snapshot(store, snapshot_of(store, accepted))
    if not accepted.facts["quarantined"]:
        return rows
    aside = pl.read_parquet(
        local_dir(store, accepted) / "quarantine.parquet", columns=["__row__"], glob=False
    )
    return RowSet(rows.paths, rows.schema, rows.cut, aside["__row__"].to_numpy())
