"""Which rows a model has learned from, written down so that it is known for ever.

A model's own split can say which rows it kept for the test; it cannot say which of today's rows,
placed by other settings, it has seen, nor that a text which is gone from the source stands again
in a new row. So the rows of training and validation are written down one by one, as 64 bits each:
by what makes a row itself, by its group, by its content, and for texts that are nearly alike by
the bands of their signatures. What shares any of these with a learned row was learned from.

Shapes: R rows, T learned texts, B bands.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.errors import BundleError, UnlearnableError
from models.features.config import Layout
from models.features.splitting.duplicates import found_in
from models.features.splitting.minhash import band_keys, bands_for, plain_text
from models.features.splitting.row_hash import identities
from models.features.splitting.split import SplitConfig, way_of
from models.features.splitting.unseen_rows import types_of

FILE = "training_rows.safetensors"

Hashes = NDArray[np.uint64]


class Near(NamedTuple):
    """Texts that are nearly alike count as the same."""

    column: str
    threshold: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RowKeys:
    """By what a row is known again: several lists of columns, each enough for itself."""

    columns: tuple[tuple[str, ...], ...]
    near: Near | None = None

    @property
    def needed(self) -> list[str]:
        """Every column, once."""
        names = [name for group in self.columns for name in group]
        return list(dict.fromkeys(names + ([self.near.column] if self.near else [])))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRows:
    """The rows that a model has learned from."""

    marks: RowKeys
    types: tuple[tuple[str, ...], ...]
    """Of the columns, as `types_of` names them."""
    hashes: tuple[Hashes, ...]
    """For each list of columns the identities that were learned from, ascending, each once."""
    bands_BT: NDArray[np.uint32]
    """The keys of each band of the learned texts, ascending; empty where none are compared."""


def build_row_keys(layout: Layout, split: SplitConfig) -> RowKeys:
    """Choose by what the rows of such a job are known again.

    Windows overlap, so the points in time or the whole series that were learned from count.
    """
    row = row_columns(layout, split)
    if layout.window:
        by, series = way_of(split, windows=True), split.group or layout.entity
        if by == "time" and layout.time:
            row = (layout.time,)
        return RowKeys(columns=((series,) if by == "hash" and series else row,))
    group = [(split.group,)] if split.group else []
    same = [content_columns(layout)] if split.duplicates == "remove" else []
    near = (
        Near(layout.input.columns[0], split.near_duplicate_threshold)
        if split.near_duplicate_threshold
        else None
    )
    return RowKeys(columns=tuple(dict.fromkeys([row, *group, *same])), near=near)


def row_columns(layout: Layout, split: SplitConfig) -> tuple[str, ...]:
    """Name the columns that tell one row from all others."""
    if layout.window:
        return tuple(name for name in (layout.entity, layout.time) if name)
    if split.id:
        return (split.id,)
    content = content_columns(layout)
    if way_of(split, windows=False) == "time" and split.duplicates == "keep" and layout.time:
        return tuple(dict.fromkeys((layout.time, *content)))
    return content


def content_columns(layout: Layout) -> tuple[str, ...]:
    """Name the columns that make a row what it is: its sequence and what stands beside."""
    sides = (side.column for side in layout.statics)
    return tuple(dict.fromkeys([*layout.input.columns, *sides]))


def hash_training_rows(
    frames: Iterable[pl.DataFrame], schema: pl.Schema, marks: RowKeys
) -> TrainingRows:
    """Write down learned rows, given in frames."""
    found: list[list[Hashes]] = [[] for _ in marks.columns]
    bands = []
    for frame in frames:
        for held, columns in zip(found, marks.columns, strict=True):
            held.append(hashes_of(frame, columns))
        if marks.near:
            bands.append(keys_of(frame, marks.near))
    bands_BT = np.sort(np.concatenate(bands).T, axis=1) if bands else np.empty((0, 0), np.uint32)
    return TrainingRows(
        marks=marks,
        types=tuple(types_of(schema, list(columns)) for columns in marks.columns),
        hashes=tuple(once(held) for held in found),
        bands_BT=np.ascontiguousarray(bands_BT),
    )


def hashes_of(frame: pl.DataFrame, columns: Sequence[str]) -> Hashes:
    """Hash what is learned from; points in time and names repeat, and are hashed once."""
    chosen = frame.select(columns)
    if len(columns) == 1 and not chosen.dtypes[0].is_nested():
        chosen = chosen.unique()
    return identities(chosen, list(columns))


def once(pieces: Sequence[Hashes]) -> Hashes:
    """Bring hashes into order, each once."""
    # By hand, for np.unique throws uint64 into a hash table, which is slower.
    held: Hashes = np.concatenate([np.empty(0, np.uint64), *pieces])
    held.sort()
    first: NDArray[np.bool_] = np.diff(held, prepend=~held[:1]) != 0
    return held[first]


def keys_of(frame: pl.DataFrame, near: Near) -> NDArray[np.uint32]:
    """Return the bands of texts, [R, B]."""
    return band_keys(plain_text(frame[near.column]), bands_for(near.threshold))


def match_training_rows(frame: pl.DataFrame, learned: TrainingRows) -> NDArray[np.bool_]:
    """Tell for each row whether it was learned from; what is nearly so counts.

    Raises:
        UnlearnableError: a column is written in another type than it was.
    """
    found = np.zeros(len(frame), bool)
    for columns, types, hashes in zip(
        learned.marks.columns, learned.types, learned.hashes, strict=True
    ):
        now = types_of(frame.schema, list(columns))
        if now != types:
            raise UnlearnableError(
                f"columns {list(columns)} were of types {types} and are {now} now, so nobody can "
                "tell which rows were learned from"
            )
        found |= found_in(identities(frame, list(columns)), hashes)
    if learned.marks.near and learned.bands_BT.size:
        keys_RB = keys_of(frame, learned.marks.near)
        for band, known in enumerate(learned.bands_BT):
            place = np.minimum(np.searchsorted(known, keys_RB[:, band]), len(known) - 1)
            found |= known[place] == keys_RB[:, band]
    return found


def save_training_rows(learned: TrainingRows, folder: Path) -> None:
    """Write `training_rows.safetensors`; equal rows give equal bytes, in any order."""
    near = learned.marks.near
    told = {
        "columns": learned.marks.columns,
        "types": learned.types,
        "near": [near.column, near.threshold] if near else None,
    }
    arrays = {f"hashes_{place}": held for place, held in enumerate(learned.hashes)}
    save_file(arrays | {"bands": learned.bands_BT}, folder / FILE, {"marks": json.dumps(told)})


def load_training_rows(folder: Path) -> TrainingRows | None:
    """Read what `save_learned` wrote, or None where a version has none.

    Raises:
        BundleError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            told = json.loads(file.metadata()["marks"])
            groups = tuple(tuple(columns) for columns in told["columns"])
            hashes = tuple(file.get_tensor(f"hashes_{place}") for place in range(len(groups)))
            bands_BT = file.get_tensor("bands")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error!r}") from error
    return TrainingRows(
        marks=RowKeys(columns=groups, near=Near(*told["near"]) if told["near"] else None),
        types=tuple(tuple(types) for types in told["types"]),
        hashes=hashes,
        bands_BT=bands_BT,
    )
