"""Characters and bytes: whole blocks at once, through tables.

Shapes: R rows, N characters or bytes of all rows together.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.text.config import UNKNOWN, TextInput, TextState
from models.features.text.jagged import Ids, Jagged

CODE_POINTS = 0x110000


def code_points(texts: pl.Series) -> NDArray[np.uint32]:
    """Lay the code points of all texts end to end."""
    return np.frombuffer(texts.str.join("").item().encode("utf-32-le"), np.uint32)


def fit_characters(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Keep the most frequent characters, equals in code point order."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for texts in streams:
        counts += np.bincount(code_points(texts), minlength=CODE_POINTS)
    order = np.argsort(-counts, kind="stable")[: config.vocab_size - 1]
    kept = order[counts[order] >= config.min_frequency]
    return TextState(tokens=tuple(map(chr, kept.tolist())))


@lru_cache(maxsize=8)
def character_table(tokens: tuple[str, ...]) -> Ids:
    """Build the table from code points to ids."""
    table = np.full(CODE_POINTS, UNKNOWN, np.int32)
    table[[ord(token) for token in tokens]] = np.arange(1, len(tokens) + 1)
    return table


def encode_characters(texts: pl.Series, state: TextState) -> Jagged:
    """Turn texts into the ids of their characters."""
    stops_R = texts.str.len_chars().to_numpy().astype(np.int64).cumsum()
    return Jagged(character_table(state.tokens)[code_points(texts)], stops_R)


def encode_bytes(texts: pl.Series) -> Jagged:
    """Turn texts into their UTF-8 bytes, moved up by one."""
    bytes_N = np.frombuffer(texts.str.join("").item().encode(), np.uint8)
    stops_R = texts.str.len_bytes().to_numpy().astype(np.int64).cumsum()
    return Jagged(bytes_N.astype(np.int32) + 1, stops_R)
