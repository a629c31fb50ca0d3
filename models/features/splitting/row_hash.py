"""Sixty-four bits that stand for a row's content, the same for ever and everywhere.

BLAKE2b (RFC 7693) over the row as JSON, bytes as hexadecimal digits. A row keeps its split for ever
because these bits never change: neither with Polars' version nor with the file's format. So they
are a cryptographic hash of a written form, and not one of the faster hashes of memory, which
Polars may change with any release. JSON knows no NaN and no infinity: they are alike here, and
like a gap.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError

PIECE_BYTES = 4 * 2**20

PIECE_ROWS = 2**16


def identities(frame: pl.DataFrame, columns: list[str]) -> NDArray[np.uint64]:
    """Hash each row's content in `columns` to 64 bits.

    Works in pieces, so that each thread writes out no more than some 4 MiB of rows at a time.
    Threads share the work of writing, and that of hashing where rows are longer than 2 kB.

    Raises:
        UnlearnableError: a column holds what has no written form.
    """
    if frame.is_empty():
        return np.empty(0, np.uint64)
    chosen = frame.select(columns)
    row_bytes = max(1.0, chosen.estimated_size() / len(frame))
    rows = max(1, min(PIECE_ROWS, int(PIECE_BYTES / row_bytes)))
    if len(frame) <= rows:
        return hash_piece(chosen)
    pieces = chosen.iter_slices(rows)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return np.concatenate(list(threads.map(hash_piece, pieces)))


def hash_piece(piece: pl.DataFrame) -> NDArray[np.uint64]:
    """Hash a few rows; what is repeated among them is hashed once."""
    texts = as_text(piece)
    if texts.n_unique() * 2 > len(texts):
        return hash_texts(texts)
    distinct = texts.unique()
    hashes = pl.Series(hash_texts(distinct), dtype=pl.UInt64)
    return texts.replace_strict(distinct, hashes).to_numpy()


def hash_texts(texts: pl.Series) -> NDArray[np.uint64]:
    """Hash each text to 64 bits; a copied state is made in half the time of a new one."""
    fresh = hashlib.blake2b(digest_size=8).copy
    digests = []
    for text in texts.cast(pl.Binary):
        state = fresh()
        state.update(text)
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def as_text(piece: pl.DataFrame) -> pl.Series:
    """Write each row as JSON."""
    if piece.dtypes == [pl.Binary]:
        return bytes_as_text(piece.to_series())
    plain = [plain_value(pl.col(name), piece.schema[name], name) for name in piece.columns]
    return piece.select(pl.struct(plain).struct.json_encode()).to_series()


def bytes_as_text(column: pl.Series) -> pl.Series:
    """Write the JSON of a single column of bytes, without looking for what JSON must escape."""
    empty = pl.select(pl.struct(pl.lit("").alias(column.name)).struct.json_encode()).item()
    digits = column.bin.encode("hex")
    return pl.select(
        pl.lit(empty[:-3]) + ('"' + pl.lit(digits) + '"').fill_null("null") + pl.lit(empty[-1:])
    ).to_series()


def plain_value(value: pl.Expr, dtype: pl.DataType, name: str) -> pl.Expr:
    """Write bytes as digits and -0.0 as 0.0, at any depth; leave all else as it is.

    Raises:
        UnlearnableError: Python objects have no written form.
    """
    if dtype == pl.Object:
        raise UnlearnableError(
            f"column '{name}' holds Python objects, which cannot be told apart for the split; "
            "convert it upstream, or set split.id to a column that names each row"
        )
    if dtype == pl.Binary:
        return value.bin.encode("hex")
    if dtype.is_float():
        # The one number that two bit patterns stand for.
        return pl.when(value == 0).then(pl.lit(0.0, dtype)).otherwise(value).alias(name)
    if isinstance(dtype, (pl.List, pl.Array)) and nested(dtype):
        lists = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return lists.list.eval(plain_value(pl.element(), pl.Series(dtype=dtype.inner).dtype, name))
    if isinstance(dtype, pl.Struct) and nested(dtype):
        return plain_struct(value, dtype, name)
    return value


def plain_struct(value: pl.Expr, dtype: pl.Struct, name: str) -> pl.Expr:
    """Write each field plainly; a row without the record stays without it."""
    fields = [
        plain_value(value.struct.field(field), inner, name).alias(field)
        for field, inner in pl.Schema(dtype.to_schema()).items()
    ]
    return pl.when(value.is_not_null()).then(pl.struct(fields)).alias(name)


def nested(dtype: pl.DataType) -> bool:
    """Return whether a type has floats, bytes or objects in it."""
    text = str(dtype)
    return any(word in text for word in ("Float", "Binary", "Object"))
