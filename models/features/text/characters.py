"""Characters and bytes as tokens: whole blocks of texts at once, by lookup tables.

Shapes: R rows, N characters or bytes of all rows together.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.text.config import UNKNOWN_ID, TextInput, TextState
from models.features.text.jagged import Ids, Jagged

_NUM_CODE_POINTS = 0x110000


def fit_characters(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Return the most frequent characters; equally frequent ones in the order of code points."""
    counts = np.zeros(_NUM_CODE_POINTS, np.int64)
    for texts in streams:
        counts += np.bincount(_list_code_points(texts), minlength=_NUM_CODE_POINTS)
    order = np.argsort(-counts, kind="stable")[: config.vocab_size - 1]
    kept = order[counts[order] >= config.min_frequency]
    return TextState(tokens=tuple(map(chr, kept.tolist())))


def encode_characters(texts: pl.Series, state: TextState) -> Jagged:
    """Return the ids of the characters of texts."""
    stops_R = texts.str.len_chars().to_numpy().astype(np.int64).cumsum()
    return Jagged(_build_character_table(state.tokens)[_list_code_points(texts)], stops_R)


def encode_bytes(texts: pl.Series) -> Jagged:
    """Return the UTF-8 bytes of texts plus 1, as 0 is the unknown id."""
    bytes_N = np.frombuffer(texts.str.join("").item().encode(), np.uint8)
    stops_R = texts.str.len_bytes().to_numpy().astype(np.int64).cumsum()
    return Jagged(bytes_N.astype(np.int32) + 1, stops_R)


def _list_code_points(texts: pl.Series) -> NDArray[np.uint32]:
    """Return the code points of all texts, concatenated."""
    return np.frombuffer(texts.str.join("").item().encode("utf-32-le"), np.uint32)


@lru_cache(maxsize=8)
def _build_character_table(tokens: tuple[str, ...]) -> Ids:
    """Return the id of each code point."""
    table = np.full(_NUM_CODE_POINTS, UNKNOWN_ID, np.int32)
    table[[ord(token) for token in tokens]] = np.arange(1, len(tokens) + 1)
    return table
