"""Write quarantined rows with their reasons, and the file and row that they come from."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_contracts.contract import Contract
from data_contracts.engine.uniqueness import ROW_NUMBER
from data_contracts.quarantine import REASONS_COLUMN, find_broken_rows
from data_contracts.suite import SuiteResult
from tasks.dataset.rowset import ORIGIN_PART, ORIGIN_ROW, RowSet, open_snapshot
from tasks.facts import RefusedFacts
from tasks.records import Snapshot
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store

MAX_REPORTED_ROWS = 10_000
"""Rows of each broken rule that are written where a snapshot is refused."""

Origin = tuple[str, int]
"""Path of a file of the source, and how many rows of a part are from it."""


def quarantine_rows(
    store: Store, snapshot: Snapshot, checked: SuiteResult, folder: Path, *, limit: int | None
) -> int:
    """Write the rows that break a critical rule to `quarantine.parquet`, and count them.

    Args:
        store: where the snapshot is.
        snapshot: whose rows they are.
        checked: the result of the contract's check.
        folder: for `quarantine.parquet`.
        limit: most rows of each rule; None for all.
    """
    if not checked.broken:
        return 0
    rows, origins = open_snapshot(store, snapshot), read_origins(snapshot)
    bad = find_broken_rows(rows.scan(), checked.broken, limit=limit)
    add_origins(rows, bad, origins).write_parquet(folder / "quarantine.parquet")
    return len(bad)


def hash_quarantined_rows(folder: Path) -> str:
    """Hash the numbers of the quarantined rows, without the reasons."""
    numbers = pl.read_parquet(
        folder / "quarantine.parquet", columns=[ROW_NUMBER], glob=False
    ).to_series()
    return hashlib.sha256(numbers.to_numpy().tobytes()).hexdigest()


def store_refused_snapshot(
    store: Store, snapshot: Snapshot, contract: Contract, folder: Path
) -> Path:
    """Store the findings of a refused snapshot for inspection, and return their folder."""

    def build(home: Path) -> RefusedFacts:
        shutil.copytree(folder, home, dirs_exist_ok=True)
        return RefusedFacts(contract=contract.name)

    recipe = Recipe(stage="refused", version=1, config=contract, inputs={"snapshot": snapshot.key})
    return local_dir(store, produce(store, recipe, build, RefusedFacts))


def add_origins(
    rows: RowSet, bad: pl.DataFrame, origins: Sequence[Sequence[Origin]]
) -> pl.DataFrame:
    """Return bad rows with all columns, their reasons, and their file and row in the source.

    Args:
        rows: all rows.
        bad: row numbers and reasons.
        origins: for each part, its files and their numbers of rows.
    """
    numbers = bad[ROW_NUMBER].implode()
    found = (
        rows.scan(origin=True).with_row_index(ROW_NUMBER).filter(pl.col(ROW_NUMBER).is_in(numbers))
    )
    frame = found.collect(engine="streaming").join(
        bad, on=ROW_NUMBER, how="left", maintain_order="left"
    )
    numbered = frame.select(ORIGIN_PART, ORIGIN_ROW).iter_rows()
    located = [_locate_row(origins[part], int(row)) for part, row in numbered]
    source = pl.DataFrame(located, schema=["__source__", "__source_row__"], orient="row")
    original = frame.select(rows.schema.names())
    return pl.concat(
        [
            frame.select(ROW_NUMBER),
            source,
            frame.select(pl.col(REASONS_COLUMN).alias("__reasons__")),
            original,
        ],
        how="horizontal",
    )


def read_origins(snapshot: Snapshot) -> list[list[Origin]]:
    """Return for each part of a snapshot the files that its rows are from."""
    return [list(part) for part in snapshot.facts.origins]


def _locate_row(origins: Sequence[Origin], number: int) -> tuple[str, int]:
    """Convert a row's number in a part into its file and its number there, from 0."""
    path = ""
    for path, count in origins:  # noqa: B007 - used after the loop
        if number < count:
            break
        number -= count
    return path, number
