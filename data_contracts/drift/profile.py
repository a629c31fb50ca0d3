"""Profiles: what a table's columns look like, in counts that another day's rows can be held to.

The rows are read in batches that fit in memory. Edges, categories and vocabulary are chosen in one
pass and counted in a second, by the very code that counts another day's rows into them, so that a
table never differs from itself.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import polars as pl

from data_contracts.drift.column_profile import ColumnCounter, ColumnPlan, comparable, lighten
from data_contracts.drift.distribution import Column, ProfileError, brief, read_record

FORMAT = 1
"""Of the JSON; another number is another layout."""

READ_ROWS = 2048
"""Rows that Polars hands over at a time."""

BATCH_ROWS = 16_384
"""Rows that are counted at a time, unless they are more than BATCH_BYTES."""

BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What a table's columns look like."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        """Refuse a column that is there twice.

        Raises:
            ProfileError: a column is there twice.
        """
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ProfileError("columns: a name is there twice")

    def to_json(self) -> str:
        """Write it, to the last bit of every number."""
        return json.dumps({"format": FORMAT} | asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Profile":
        """Read what `to_json` wrote.

        Raises:
            ProfileError: what is wrong with it, and where.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProfileError(f"the profile is not JSON: {error}") from error
        if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
            raise ProfileError(f"not a profile of format {FORMAT}: {brief(raw)}")
        return read_record(cls, raw, "profile")


def profile_rows(scan: pl.LazyFrame, columns: Sequence[str]) -> Profile:
    """Profile the named columns, in two streaming passes.

    Raises:
        ProfileError: a column is not there, or is named twice.
    """
    schema = scan.collect_schema()
    for name in columns:
        if name not in schema:
            raise ProfileError(f"no column '{name}' to profile; there are {list(schema)}")
    plans = [ColumnPlan(name, schema[name]) for name in columns]
    count(scan, {plan.name: plan for plan in plans})
    return measure_rows(scan, Profile(columns=tuple(plan.column() for plan in plans)))


def measure_rows(scan: pl.LazyFrame, reference: Profile) -> Profile:
    """Count rows into the bins, categories and vocabulary of a reference, in one streaming pass.

    A column that is not there, or whose type cannot be compared any more, is answered as absent.
    """
    schema = scan.collect_schema()
    counters = {
        column.name: ColumnCounter(column)
        for column in reference.columns
        if column.name in schema and comparable(column, schema[column.name])
    }
    count(scan, counters)
    rows = count_rows(scan, counters)
    return Profile(
        columns=tuple(
            counters[column.name].column(str(schema[column.name]))
            if column.name in counters
            else absent(column.name, rows=rows, schema=schema)
            for column in reference.columns
        )
    )


def count(scan: pl.LazyFrame, counters: Mapping[str, ColumnPlan | ColumnCounter]) -> None:
    """Feed each column's counter, batch by batch; columns side by side, each in one thread."""
    if not counters:
        return
    schema = scan.collect_schema()
    light = {name: lighten(name, schema[name]) for name in counters}

    def feed(name: str, batch: pl.DataFrame) -> None:
        counters[name].add(batch.select(light[name]).to_series())

    with ThreadPoolExecutor(min(len(counters), pl.thread_pool_size())) as threads:
        for batch in batches(scan.select(counters.keys())):
            for done in [threads.submit(feed, name, batch) for name in counters]:
                done.result()


def batches(scan: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Read frames that fit in memory: of many rows, or of few when these are large.

    Columns are read as they are: Polars 2.1 runs far ahead of its reader when they are not.
    """
    held: list[pl.DataFrame] = []
    rows = size = 0.0
    for frame in scan.collect_batches(chunk_size=READ_ROWS, engine="streaming"):
        held.append(frame)
        rows, size = rows + frame.height, size + frame.estimated_size()
        if rows >= BATCH_ROWS or size >= BATCH_BYTES:
            yield pl.concat(held)
            held, rows, size = [], 0.0, 0.0
    if held:
        yield pl.concat(held)


def count_rows(scan: pl.LazyFrame, counters: Mapping[str, ColumnCounter]) -> int:
    """Count the rows, by asking only where no column was read."""
    for counter in counters.values():
        return counter.rows
    return int(scan.select(pl.len()).collect(engine="streaming").item())


def absent(name: str, *, rows: int, schema: pl.Schema) -> Column:
    """Answer for a column that cannot be compared; its type, if any, says why."""
    dtype = str(schema[name]) if name in schema else ""
    return Column(name=name, dtype=dtype, kind="absent", rows=rows, missing=0)
