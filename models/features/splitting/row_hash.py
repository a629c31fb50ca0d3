"""A hash of 64 bits of the content of a row, the same on every machine and with every version.

BLAKE2b (RFC 7693) of the row as JSON, with bytes as hexadecimal digits. A row keeps its split
because this hash never changes, neither with the version of Polars nor with the format of the file.
This is why it is a cryptographic hash of a text, and not one of Polars' faster hashes of memory,
which may change with any release. JSON has no NaN and no infinity: both are equal to null here.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError

_BATCH_BYTES = 4 * 2**20

_BATCH_ROWS = 2**16


def hash_frame_rows(frame: pl.DataFrame, columns: list[str]) -> NDArray[np.uint64]:
    """Return a hash of 64 bits of the content of each row in `columns`.

    Works in batches, so that each thread formats no more than about 4 MiB of rows at a time.
    Formatting runs in parallel, and hashing too where rows are longer than 2 kB.

    Raises:
        UnlearnableError: a column contains Python objects, which have no text.
    """
    if frame.is_empty():
        return np.empty(0, np.uint64)
    chosen = frame.select(columns)
    row_bytes = max(1.0, chosen.estimated_size() / len(frame))
    batch_rows = max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / row_bytes)))
    if len(frame) <= batch_rows:
        return _hash_batch(chosen)
    batches = chosen.iter_slices(batch_rows)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return np.concatenate(list(threads.map(_hash_batch, batches)))


def _hash_batch(batch: pl.DataFrame) -> NDArray[np.uint64]:
    """Return the hashes of a batch of rows; repeated rows are hashed once."""
    texts = _format_rows(batch)
    if texts.n_unique() * 2 > len(texts):
        return _hash_texts(texts)
    distinct = texts.unique()
    hashes = pl.Series(_hash_texts(distinct), dtype=pl.UInt64)
    return texts.replace_strict(distinct, hashes).to_numpy()


def _hash_texts(texts: pl.Series) -> NDArray[np.uint64]:
    """Return a hash of 64 bits of each text; copying a state takes half the time of a new one."""
    fresh = hashlib.blake2b(digest_size=8).copy
    digests = []
    for text in texts.cast(pl.Binary):
        state = fresh()
        state.update(text)
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _format_rows(batch: pl.DataFrame) -> pl.Series:
    """Return each row as JSON."""
    if batch.dtypes == [pl.Binary]:
        return _format_bytes(batch.to_series())
    values = [_normalize_value(pl.col(name), batch.schema[name], name) for name in batch.columns]
    return batch.select(pl.struct(values).struct.json_encode()).to_series()


def _format_bytes(column: pl.Series) -> pl.Series:
    """Return the JSON of a single column of bytes, without a search for characters to escape."""
    template = pl.select(pl.struct(pl.lit("").alias(column.name)).struct.json_encode()).item()
    digits = column.bin.encode("hex")
    return pl.select(
        pl.lit(template[:-3])
        + ('"' + pl.lit(digits) + '"').fill_null("null")
        + pl.lit(template[-1:])
    ).to_series()


def _normalize_value(value: pl.Expr, dtype: pl.DataType, name: str) -> pl.Expr:
    """Return bytes as hexadecimal digits and -0.0 as 0.0 at any depth, all other values unchanged.

    Raises:
        UnlearnableError: the column contains Python objects, which have no text.
    """
    if dtype == pl.Object:
        raise UnlearnableError(
            f"column '{name}' contains Python objects, which cannot be hashed for the split; "
            "convert it upstream, or set split.id to a column that identifies each row"
        )
    if dtype == pl.Binary:
        return value.bin.encode("hex")
    if dtype.is_float():
        # Zero is the one number with two bit patterns.
        return pl.when(value == 0).then(pl.lit(0.0, dtype)).otherwise(value).alias(name)
    if isinstance(dtype, (pl.List, pl.Array)) and _needs_normalizing(dtype):
        lists = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return lists.list.eval(
            _normalize_value(pl.element(), pl.Series(dtype=dtype.inner).dtype, name)
        )
    if isinstance(dtype, pl.Struct) and _needs_normalizing(dtype):
        return _normalize_struct(value, dtype, name)
    return value


def _normalize_struct(value: pl.Expr, dtype: pl.Struct, name: str) -> pl.Expr:
    """Return a struct with normalized fields; null where it is null."""
    fields = [
        _normalize_value(value.struct.field(field), inner, name).alias(field)
        for field, inner in pl.Schema(dtype.to_schema()).items()
    ]
    return pl.when(value.is_not_null()).then(pl.struct(fields)).alias(name)


def _needs_normalizing(dtype: pl.DataType) -> bool:
    """Return whether a nested type contains floats, bytes or objects."""
    text = str(dtype)
    return any(word in text for word in ("Float", "Binary", "Object"))
