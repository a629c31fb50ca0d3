"""The rows that are set aside: whole, with their reasons and their place in the source."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_contracts.contract import Contract
from data_contracts.engine.uniqueness import ROW
from data_contracts.quarantine import REASONS, bad_rows
from data_contracts.suite import Checked
from tasks.dataset.rowset import ORIGIN_PART, ORIGIN_ROW, RowSet, open_snapshot
from tasks.records import Facts, Snapshot
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store

SHOWN_ROWS = 10_000
"""Bad rows of a promise that are kept for inspection when there are too many to go on."""

Origin = tuple[str, int]
"""A file of the source, and how many rows of a part are from it."""


def set_aside(
    store: Store, snapshot: Snapshot, checked: Checked, folder: Path, *, limit: int | None
) -> int:
    """Write the rows that break a critical promise, and count them.

    Args:
        store: where the snapshot is.
        snapshot: whose rows they are.
        checked: what they break.
        folder: for `quarantine.parquet`.
        limit: rows of each promise at most; None for all.
    """
    if not checked.broken:
        return 0
    rows, origins = open_snapshot(store, snapshot), origins_of(snapshot)
    bad = bad_rows(rows.scan(), checked.broken, limit=limit)
    with_origin(rows, bad, origins).write_parquet(folder / "quarantine.parquet")
    return len(bad)


def digest_rows(folder: Path) -> str:
    """Hash which rows are set aside; the reasons are no part of it."""
    numbers = pl.read_parquet(folder / "quarantine.parquet", columns=[ROW], glob=False).to_series()
    return hashlib.sha256(numbers.to_numpy().tobytes()).hexdigest()


def keep_for_inspection(store: Store, snapshot: Snapshot, contract: Contract, folder: Path) -> Path:
    """Keep what was found of a snapshot that is refused, for its owner to look at."""

    def build(home: Path) -> Facts:
        shutil.copytree(folder, home, dirs_exist_ok=True)
        return {"contract": contract.name}

    recipe = Recipe(stage="refused", version=1, config=contract, inputs={"snapshot": snapshot.key})
    return local_dir(store, produce(store, recipe, build))


def with_origin(
    rows: RowSet, bad: pl.DataFrame, origins: Sequence[Sequence[Origin]]
) -> pl.DataFrame:
    """Give the bad rows whole, with their reasons and where in the source they are.

    Args:
        rows: all of them.
        bad: numbers and reasons.
        origins: for each part, its files and how many rows each gave.
    """
    numbers = bad[ROW].implode()
    found = rows.scan(origin=True).with_row_index(ROW).filter(pl.col(ROW).is_in(numbers))
    frame = found.collect(engine="streaming").join(bad, on=ROW, how="left", maintain_order="left")
    numbered = frame.select(ORIGIN_PART, ORIGIN_ROW).iter_rows()
    places = [place_in(origins[part], int(row)) for part, row in numbered]
    source = pl.DataFrame(places, schema=["__source__", "__source_row__"], orient="row")
    kept = frame.select(rows.schema.names())
    return pl.concat(
        [frame.select(ROW), source, frame.select(pl.col(REASONS).alias("__reasons__")), kept],
        how="horizontal",
    )


def place_in(origins: Sequence[Origin], number: int) -> tuple[str, int]:
    """Turn a row's number in a part into its file and its number there, from 0."""
    path = ""
    for path, count in origins:  # noqa: B007 - the last one looked at
        if number < count:
            break
        number -= count
    return path, number


def origins_of(snapshot: Snapshot) -> list[list[Origin]]:
    """Tell for each part of a snapshot which files its rows are from."""
    return [[(path, int(rows)) for path, rows in part] for part in snapshot.facts["origins"]]
