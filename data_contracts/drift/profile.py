"""Profiles: counts of a table's columns, with which another day's rows can be compared.

The rows are read in batches that fit in memory. Bin edges, categories and vocabulary are chosen in
a first pass and counted in a second, by the same code that later counts another day's rows, so that
a table never drifts from itself.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import polars as pl

from data_contracts.drift.column_profile import (
    ColumnCounter,
    ColumnPlanner,
    convert_column,
    is_comparable,
)
from data_contracts.drift.distribution import (
    ColumnProfile,
    ProfileError,
    parse_record,
    shorten_repr,
)

_FORMAT = 1
"""Version of the JSON layout."""

READ_ROWS = 2048
"""Rows that Polars hands over at a time."""

BATCH_ROWS = 16_384
"""Rows that are counted at a time, unless they are more than BATCH_BYTES."""

_BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Distributions of a table's columns."""

    columns: tuple[ColumnProfile, ...]

    def __post_init__(self) -> None:
        """Check that column names are unique.

        Raises:
            ProfileError: a column is there twice.
        """
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ProfileError("columns: a name is there twice")

    def to_json(self) -> str:
        """Format the profile as JSON, without loss of precision."""
        return json.dumps({"format": _FORMAT} | asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Profile":
        """Parse what `to_json` wrote.

        Raises:
            ProfileError: the text is damaged or inconsistent; the message gives the place.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProfileError(f"the profile is not JSON: {error}") from error
        if not isinstance(raw, dict) or raw.pop("format", None) != _FORMAT:
            raise ProfileError(f"not a profile of format {_FORMAT}: {shorten_repr(raw)}")
        return parse_record(cls, raw, "profile")


def profile_rows(scan: pl.LazyFrame, columns: Sequence[str]) -> Profile:
    """Profile the named columns, in two streaming passes.

    Raises:
        ProfileError: a column does not exist, or is named twice.
    """
    schema = scan.collect_schema()
    for name in columns:
        if name not in schema:
            raise ProfileError(f"no column '{name}' to profile; there are {list(schema)}")
    plans = [ColumnPlanner(name, schema[name]) for name in columns]
    _count_batches(scan, {plan.name: plan for plan in plans})
    return measure_rows(scan, Profile(columns=tuple(plan.build_empty_profile() for plan in plans)))


def measure_rows(scan: pl.LazyFrame, reference: Profile) -> Profile:
    """Count rows into the bins, categories and vocabulary of a reference, in one streaming pass.

    A column that does not exist, or whose type is no longer comparable, becomes one of kind absent.
    """
    schema = scan.collect_schema()
    counters = {
        column.name: ColumnCounter(column)
        for column in reference.columns
        if column.name in schema and is_comparable(column, schema[column.name])
    }
    _count_batches(scan, counters)
    rows = _count_rows(scan, counters)
    return Profile(
        columns=tuple(
            counters[column.name].build_profile(str(schema[column.name]))
            if column.name in counters
            else _build_absent_profile(column.name, rows=rows, schema=schema)
            for column in reference.columns
        )
    )


def _count_batches(
    scan: pl.LazyFrame, counters: Mapping[str, ColumnPlanner | ColumnCounter]
) -> None:
    """Add all batches to each column's counter; columns in parallel, each in one thread."""
    if not counters:
        return
    schema = scan.collect_schema()
    light = {name: convert_column(name, schema[name]) for name in counters}

    def add_batch(name: str, batch: pl.DataFrame) -> None:
        counters[name].add(batch.select(light[name]).to_series())

    with ThreadPoolExecutor(min(len(counters), pl.thread_pool_size())) as threads:
        for batch in _read_batches(scan.select(counters.keys())):
            for done in [threads.submit(add_batch, name, batch) for name in counters]:
                done.result()


def _read_batches(scan: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Read frames that fit in memory: of many rows, or of few when these are large.

    Columns are read unchanged: with expressions, Polars 2.1 reads far ahead and fills the memory.
    """
    frames: list[pl.DataFrame] = []
    rows = size = 0.0
    for frame in scan.collect_batches(chunk_size=READ_ROWS, engine="streaming"):
        frames.append(frame)
        rows, size = rows + frame.height, size + frame.estimated_size()
        if rows >= BATCH_ROWS or size >= _BATCH_BYTES:
            yield pl.concat(frames)
            frames, rows, size = [], 0.0, 0.0
    if frames:
        yield pl.concat(frames)


def _count_rows(scan: pl.LazyFrame, counters: Mapping[str, ColumnCounter]) -> int:
    """Return the number of rows; the data is queried only if no column was read."""
    for counter in counters.values():
        return counter.rows
    return int(scan.select(pl.len()).collect(engine="streaming").item())


def _build_absent_profile(name: str, *, rows: int, schema: pl.Schema) -> ColumnProfile:
    """Build the profile of a column that cannot be compared; its type, if any, gives the reason."""
    dtype = str(schema[name]) if name in schema else ""
    return ColumnProfile(name=name, dtype=dtype, kind="absent", rows=rows, missing=0)
