"""Pieces: the parts of a text that can be tokenized independently of each other.

Words repeat, so each distinct piece of a block is tokenized once and its ids are gathered; the
result is cached across blocks. A text whose spaces have a meaning is one piece.
Shapes: R rows, P pieces of all rows together, U distinct pieces.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.steps import Integers

Part = TypeVar("Part", str, int)
Splitter = Callable[[list[str]], list[tuple[str, ...]]]
"""Splits each piece into tokens."""
Encoder = Callable[[list[str]], list[tuple[int, ...]]]
"""Returns the ids of each piece."""

_MAX_CACHED_PIECES = 1 << 17
_MAX_CACHED_LENGTH = 64


class Pieces(NamedTuple):
    """The pieces of rows of text, concatenated."""

    words_U: list[str]
    """The distinct pieces; there may be some that no row has."""
    codes_P: Integers
    """Index of each piece among the distinct ones."""
    stops_R: Integers
    """Index after the last piece of each row, at which the next row begins."""

    @property
    def starts_R(self) -> Integers:
        """Index of the first piece of each row."""
        return np.concatenate([np.zeros(1, np.int64), self.stops_R])[: len(self.stops_R)]


Cutter = Callable[[pl.Series], Pieces]
"""Splits texts, none of them null, into pieces."""


def concatenate_pieces(lists: pl.Series) -> Pieces:
    """Return lists of pieces as concatenated rows."""
    lengths_R = lists.list.len().to_numpy().astype(np.int64)
    pieces = lists.explode(empty_as_null=False).to_arrow(compat_level=pl.CompatLevel.oldest())
    encoded = pieces.dictionary_encode()
    codes_P = encoded.indices.to_numpy().astype(np.int64)
    return Pieces(encoded.dictionary.to_pylist(), codes_P, np.cumsum(lengths_R))


def keep_texts_whole(texts: pl.Series) -> Pieces:
    """Return each text as one piece."""
    return Pieces(texts.to_list(), np.arange(len(texts)), np.arange(1, len(texts) + 1))


def split_at_spaces(texts: pl.Series, whole: pl.Series) -> Pieces:
    """Return each text split at every U+0020, and those that `whole` marks as one piece."""
    if not whole.any():
        return concatenate_pieces(texts.str.split(" "))
    pieces = concatenate_pieces(texts.set(whole, "").str.split(" "))
    return rejoin_texts(pieces, texts, whole.to_numpy())


def rejoin_texts(pieces: Pieces, texts: pl.Series, whole_R: NDArray[np.bool_]) -> Pieces:
    """Return pieces in which the texts of the marked rows are one piece each."""
    lengths_R = pieces.stops_R - pieces.starts_R
    rows, firsts = np.flatnonzero(whole_R), pieces.starts_R[whole_R]
    kept_P = ~np.repeat(whole_R, lengths_R)
    kept_P[firsts] = True
    codes_P = pieces.codes_P.copy()
    codes_P[firsts] = len(pieces.words_U) + np.arange(len(rows))
    return Pieces(
        pieces.words_U + texts[rows].to_list(),
        codes_P[kept_P],
        np.cumsum(np.where(whole_R, 1, lengths_R)),
    )


def cache_pieces(
    work: Callable[[list[str]], list[tuple[Part, ...]]],
) -> Callable[[list[str]], list[tuple[Part, ...]]]:
    """Return a function that caches the results of short pieces, up to a number of them.

    Args:
        work: computes the result of each piece, independently of the other ones.
    """
    known: dict[str, tuple[Part, ...]] = {}

    def look_up(pieces: list[str]) -> list[tuple[Part, ...]]:
        found = [known.get(piece) for piece in pieces]
        missing = [piece for piece, parts in zip(pieces, found, strict=True) if parts is None]
        if not missing:
            return [parts for parts in found if parts is not None]
        fresh = work(missing)
        if len(known) + len(fresh) > _MAX_CACHED_PIECES:
            known.clear()
        known.update(
            (piece, parts)
            for piece, parts in zip(missing, fresh, strict=True)
            if len(piece) <= _MAX_CACHED_LENGTH
        )
        rest = iter(fresh)
        return [next(rest) if parts is None else parts for parts in found]

    return look_up
