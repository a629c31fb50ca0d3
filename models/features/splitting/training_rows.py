"""A record of the rows that a model was trained on.

The split of a model tells which rows are its test. It cannot tell which rows of today's table,
split by other settings, the model was trained on, nor that a text which is no longer in the source
is in a new row again. So each row of training and validation is recorded by hashes of 64 bits: of
the columns that identify it, of its group, of its content, and for near duplicates of texts of the
bands of their MinHash signatures. A row that shares any of these with a recorded row counts as
trained on.

Shapes: R rows, T recorded texts, B bands.
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
from models.features.splitting.duplicates import mark_known
from models.features.splitting.minhash import (
    choose_bands,
    compute_band_keys,
    join_texts,
    normalize_texts,
)
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import SplitConfig, choose_split_method
from models.features.splitting.unseen_rows import format_column_types
from models.features.steps import Hashes

TRAINING_ROWS_FILE = "training_rows.safetensors"


class NearDuplicateKey(NamedTuple):
    """The text column and the Jaccard similarity from which on two texts count as the same."""

    columns: tuple[str, ...]
    threshold: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RowKeys:
    """How rows are matched: by several lists of columns, any of which is sufficient."""

    columns: tuple[tuple[str, ...], ...]
    near_duplicates: NearDuplicateKey | None = None

    @property
    def required_columns(self) -> list[str]:
        """Every column of the keys, once."""
        names = [name for group in self.columns for name in group]
        return list(
            dict.fromkeys([*names, *(self.near_duplicates.columns if self.near_duplicates else ())])
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRows:
    """The rows of training and validation of a model."""

    keys: RowKeys
    types: tuple[tuple[str, ...], ...]
    """Of the columns, as `format_column_types` gives them."""
    hashes: tuple[Hashes, ...]
    """For each list of columns the hashes of the rows, ascending and without repetitions."""
    bands_BT: NDArray[np.uint32]
    """The keys of each band of the texts, ascending; empty where no texts are compared."""


def build_row_keys(layout: Layout, split: SplitConfig) -> RowKeys:
    """Return how rows of this layout and split are matched.

    Windows overlap, so they are matched by their point in time, or by their whole series.
    """
    key_columns = list_key_columns(layout, split)
    if layout.window:
        by, series = choose_split_method(split, windows=True), split.group or layout.entity
        if by == "time" and layout.time:
            key_columns = (layout.time,)
        return RowKeys(columns=((series,) if by == "hash" and series else key_columns,))
    group = [(split.group,)] if split.group else []
    content = [list_content_columns(layout)] if split.duplicates == "remove" else []
    near_duplicates = (
        NearDuplicateKey(layout.input.columns, split.near_duplicate_threshold)
        if split.near_duplicate_threshold
        else None
    )
    return RowKeys(
        columns=tuple(dict.fromkeys([key_columns, *group, *content])),
        near_duplicates=near_duplicates,
    )


def list_key_columns(layout: Layout, split: SplitConfig) -> tuple[str, ...]:
    """Return the columns that identify a row."""
    if layout.window:
        return tuple(name for name in (layout.entity, layout.time) if name)
    if split.id:
        return (split.id,)
    content = list_content_columns(layout)
    if (
        choose_split_method(split, windows=False) == "time"
        and split.duplicates == "keep"
        and layout.time
    ):
        return tuple(dict.fromkeys((layout.time, *content)))
    return content


def list_content_columns(layout: Layout) -> tuple[str, ...]:
    """Return the columns with the content of a row: its sequence and static covariates."""
    static_columns = (static.column for static in layout.static_inputs)
    return tuple(dict.fromkeys([*layout.input.columns, *static_columns]))


def hash_training_rows(
    frames: Iterable[pl.DataFrame], schema: pl.Schema, keys: RowKeys
) -> TrainingRows:
    """Return the record of rows of training and validation, given in frames."""
    hashes: list[list[Hashes]] = [[] for _ in keys.columns]
    bands = []
    for frame in frames:
        for pieces, columns in zip(hashes, keys.columns, strict=True):
            pieces.append(_hash_columns(frame, columns))
        if keys.near_duplicates:
            bands.append(_compute_near_keys(frame, keys.near_duplicates))
    bands_BT = np.sort(np.concatenate(bands).T, axis=1) if bands else np.empty((0, 0), np.uint32)
    return TrainingRows(
        keys=keys,
        types=tuple(format_column_types(schema, list(columns)) for columns in keys.columns),
        hashes=tuple(_merge_hashes(pieces) for pieces in hashes),
        bands_BT=np.ascontiguousarray(bands_BT),
    )


def match_training_rows(frame: pl.DataFrame, training_rows: TrainingRows) -> NDArray[np.bool_]:
    """Return for each row whether it was trained on; near duplicates count, if texts are compared.

    Raises:
        UnlearnableError: a column has another type than in training.
    """
    matched = np.zeros(len(frame), bool)
    for columns, types, hashes in zip(
        training_rows.keys.columns, training_rows.types, training_rows.hashes, strict=True
    ):
        found_types = format_column_types(frame.schema, list(columns))
        if found_types != types:
            raise UnlearnableError(
                f"columns {list(columns)} had types {types} in training and have "
                f"{found_types} now, so it is unknown which rows were trained on; "
                "write the columns with the former types"
            )
        matched |= mark_known(hash_frame_rows(frame, list(columns)), hashes)
    if training_rows.keys.near_duplicates and training_rows.bands_BT.size:
        keys_RB = _compute_near_keys(frame, training_rows.keys.near_duplicates)
        for band, known in enumerate(training_rows.bands_BT):
            index = np.minimum(np.searchsorted(known, keys_RB[:, band]), len(known) - 1)
            matched |= known[index] == keys_RB[:, band]
    return matched


def save_training_rows(training_rows: TrainingRows, folder: Path) -> None:
    """Write `training_rows.safetensors`; the same rows in any order give equal bytes."""
    near = training_rows.keys.near_duplicates
    record = {
        "columns": training_rows.keys.columns,
        "types": training_rows.types,
        "near": [list(near.columns), near.threshold] if near else None,
    }
    arrays = {f"hashes_{number}": hashes for number, hashes in enumerate(training_rows.hashes)}
    save_file(
        arrays | {"bands": training_rows.bands_BT},
        folder / TRAINING_ROWS_FILE,
        {"marks": json.dumps(record)},
    )


def load_training_rows(folder: Path) -> TrainingRows | None:
    """Return what `save_training_rows` wrote; None where there is no such file.

    Raises:
        BundleError: the file is damaged.
    """
    path = folder / TRAINING_ROWS_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads(file.metadata()["marks"])
            groups = tuple(tuple(columns) for columns in record["columns"])
            hashes = tuple(file.get_tensor(f"hashes_{number}") for number in range(len(groups)))
            bands_BT = file.get_tensor("bands")
            near = record["near"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error!r}") from error
    return TrainingRows(
        keys=RowKeys(
            columns=groups,
            near_duplicates=NearDuplicateKey(tuple(near[0]), near[1]) if near else None,
        ),
        types=tuple(tuple(types) for types in record["types"]),
        hashes=hashes,
        bands_BT=bands_BT,
    )


def _hash_columns(frame: pl.DataFrame, columns: Sequence[str]) -> Hashes:
    """Return the hashes of these columns; values of a single column repeat, and are hashed once."""
    chosen = frame.select(columns)
    if len(columns) == 1 and not chosen.dtypes[0].is_nested():
        chosen = chosen.unique()
    return hash_frame_rows(chosen, list(columns))


def _merge_hashes(pieces: Sequence[Hashes]) -> Hashes:
    """Return all hashes ascending and without repetitions."""
    # Not by np.unique, which uses a hash table for uint64 and is slower.
    hashes: Hashes = np.concatenate([np.empty(0, np.uint64), *pieces])
    hashes.sort()
    is_first: NDArray[np.bool_] = np.diff(hashes, prepend=~hashes[:1]) != 0
    return hashes[is_first]


def _compute_near_keys(frame: pl.DataFrame, near: NearDuplicateKey) -> NDArray[np.uint32]:
    """Return the band keys of texts, [R, B]."""
    return compute_band_keys(
        normalize_texts(join_texts(frame, near.columns)), choose_bands(near.threshold)
    )
